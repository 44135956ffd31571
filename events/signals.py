"""Starts the log's cursor and the ledger of a new connection."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from destinations.models import Connection, Start
from events.loads import ledger
from events.log import reader
from events.log.database import log_connection


@receiver(post_save, sender=Connection)
def start_connection(instance: Connection, created: bool, **_: Any) -> None:
    """The ledger starts at once, so that it shows the events that retention drops from now on."""
    if created and instance.start == Start.NOW and instance.start_position is None:
        with log_connection() as conn:
            instance.start_position = reader.barrier(conn)
        instance.save(update_fields=["start_position"])
    if created:
        ledger.begin_ledger(instance)
