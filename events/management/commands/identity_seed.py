"""manage.py identity_seed: resolves the identities of rows that were loaded without resolution."""

from __future__ import annotations

from typing import Any

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.operations.backfill import backfill_identities
from events.people import store


class Command(DestinationCommand):
    help = (
        "Resolve the identities of event rows that were loaded while resolution was off. Merge "
        "calls and traits are not stored in rows; replay them instead."
    )

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        with store.connect(destination) as identities:
            seeded = backfill_identities(identities.conn, identities.schema, identities.namespaces)
        self.stdout.write(f"{seeded.people} pairs of ids linked, {seeded.rows} rows updated.")
