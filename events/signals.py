from __future__ import annotations

from typing import Any

from django.db.models.signals import pre_save
from django.dispatch import receiver

from destinations.models import Connection, Start
from events import log


@receiver(pre_save, sender=Connection)
def fix_start(instance: Connection, **_: Any) -> None:
    """A connection that starts "now" starts at the log's end as it is when it is made."""
    if instance.pk is None and instance.start == Start.NOW and instance.start_position is None:
        with log.connect() as conn:
            instance.start_position = log.barrier(conn)
