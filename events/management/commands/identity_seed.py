from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.operations.backfill import backfill_identities
from events.people import store


class Command(BaseCommand):
    help = (
        "Resolve the identities of event rows that were loaded while resolution was off. Merge "
        "calls and traits are not stored in rows; replay them instead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with store.connect(Destination.named(options["destination"])) as opened:
                seeded = backfill_identities(*opened.args)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{seeded.people} pairs of ids linked, {seeded.rows} rows updated.")
