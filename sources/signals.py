"""Makes this process see changes of sources and keys at once."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from sources import snapshot
from sources.models import Source, WriteKey


@receiver([post_save, post_delete], sender=Source)
@receiver([post_save, post_delete], sender=WriteKey)
def expire_after_commit(**_: Any) -> None:
    """Refresh this process's snapshot after the commit; other processes refresh in a second."""
    transaction.on_commit(snapshot.expire_snapshot, robust=True)
