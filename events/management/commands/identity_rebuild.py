"""manage.py identity_rebuild: recomputes all identities from their links."""

from __future__ import annotations

from typing import Any

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.operations.rebuild import rebuild_graph
from events.people import store


class Command(DestinationCommand):
    help = (
        "Recompute a destination's identities from their links and replace the stored ones in one "
        "transaction. Ids stay the same."
    )

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        with store.connect(destination) as identities:
            differences = rebuild_graph(identities.conn, identities.schema)
        for difference in differences:
            self.stdout.write(f"corrected {difference}")
        self.stdout.write("Rebuilt." if differences else "Rebuilt. Nothing differed.")
