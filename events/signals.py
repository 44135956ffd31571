from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from destinations.models import Connection, Start
from events.loads import ledger
from events.log import reader
from events.log.database import log_connection


@receiver(post_save, sender=Connection)
def fix_start(instance: Connection, created: bool, **_: Any) -> None:
    """A connection that starts "now" starts at the log's end as it is when it is made.

    The ledger begins with it, so that what retention drops from then on is missed.
    """
    if created and instance.start == Start.NOW and instance.start_position is None:
        with log_connection() as conn:
            instance.start_position = reader.barrier(conn)
        instance.save(update_fields=["start_position"])
    if created:
        ledger.begin_ledger(instance)
