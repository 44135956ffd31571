from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.warehouse.erasure import BLANK, DELETE
from events import people
from events.erasures import erase_person


class Command(BaseCommand):
    help = (
        "Erases a person, or one identifier, from the warehouse and the event log, and suppresses "
        "what comes later. Without --yes it only counts what would go."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="its name, destination id or number")
        parser.add_argument("value", help="an identifier's value, or the id of a profile")
        parser.add_argument("--type", help="the type of the identifier, like user_id")
        parser.add_argument(
            "--only-identifier", action="store_true", help="not the whole profile; needs --type"
        )
        parser.add_argument("--mode", choices=[DELETE, BLANK], default=DELETE)
        parser.add_argument("--reason", default="")
        parser.add_argument("--yes", action="store_true", help="erase; there is no way back")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["only_identifier"] and not options["type"]:
            raise CommandError("--only-identifier needs --type")
        try:
            receipt = erase_person(
                people.destination_named(options["destination"]),
                options["value"],
                options["type"],
                whole_profile=not options["only_identifier"],
                mode=options["mode"],
                actor="command line",
                reason=options["reason"],
                dry_run=not options["yes"],
            )
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        counts = receipt.erasure.counts
        for table, count in counts.items():
            self.stdout.write(f"{count:>10,}  {table}")
        done = f"Erased: receipt {receipt.erasure.pk}." if options["yes"] else "Nothing is erased."
        self.stdout.write(done if options["yes"] else f"{done} Add --yes to do it.")
