from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.postgres.rebuild import rebuild
from events import people


class Command(BaseCommand):
    help = (
        "Computes a destination's identities anew from their links and puts them in place in one "
        "transaction. Ids stay the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="its name, destination id or number")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with people.opened(people.destination_named(options["destination"])) as opened:
                mended = rebuild(opened.conn, opened.schema)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        for difference in mended:
            self.stdout.write(f"mended {difference}")
        self.stdout.write("Rebuilt." if mended else "Rebuilt: nothing differed.")
