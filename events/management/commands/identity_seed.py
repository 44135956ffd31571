from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.postgres.seed import seed
from events import people


class Command(BaseCommand):
    help = (
        "Resolves the identities of event rows that were loaded while resolution was off. "
        "Merge calls have no rows and traits are not in them: replay those."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="its name, destination id or number")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with people.opened(people.destination_named(options["destination"])) as opened:
                seeded = seed(*opened.graph)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{seeded.people} pairs of ids stated, {seeded.rows} rows stamped.")
