from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.operations.rebuild import rebuild_graph
from events.people import store


class Command(BaseCommand):
    help = (
        "Recompute a destination's identities from their links and replace the stored ones in one "
        "transaction. Ids stay the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with store.connect(Destination.named(options["destination"])) as opened:
                mended = rebuild_graph(opened.conn, opened.schema)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        for difference in mended:
            self.stdout.write(f"corrected {difference}")
        self.stdout.write("Rebuilt." if mended else "Rebuilt. Nothing differed.")
