from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from sources import snapshot
from sources.models import Source, WriteKey


@receiver([post_save, post_delete], sender=Source)
@receiver([post_save, post_delete], sender=WriteKey)
def look_again(**_: Any) -> None:
    """What is changed in this process is seen by it at once, by the others within a second."""
    transaction.on_commit(snapshot.expire, robust=True)
