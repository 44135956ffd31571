from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from events import people
from events.selfcheck import check_identities


class Command(BaseCommand):
    help = (
        "Computes a destination's identities anew from their links and compares. "
        "Ends with 1 when anything differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="its name, destination id or number")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = check_identities(people.destination_named(options["destination"]))
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        for difference in found.differences:
            self.stdout.write(difference)
        if found.differences:
            raise CommandError(
                f"{len(found.differences)} differences or more; identity_rebuild mends them"
            )
        self.stdout.write("What is stored is what the links give.")
