from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from events.people.self_check import check_identities


class Command(BaseCommand):
    help = (
        "Recompute a destination's identities from their links and compare. Exits with 1 if "
        "anything differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = check_identities(Destination.named(options["destination"]))
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        for difference in found.differences:
            self.stdout.write(difference)
        if found.differences:
            raise CommandError(
                f"at least {len(found.differences)} differences; run identity_rebuild to correct "
                "them"
            )
        self.stdout.write("The stored identities match their links.")
