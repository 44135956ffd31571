from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.warehouse.identity.erasure import BLANK, DELETE
from events.people import erasure as people_erasure
from events.people import store
from events.people.erasure_preview import preview_erasure


class Command(BaseCommand):
    help = (
        "Erase a person or one identifier from the warehouse and the event log, and suppress "
        "later data. Without --yes it only counts what would be erased."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")
        parser.add_argument("value", help="value of an identifier, or profile id")
        parser.add_argument("--type", help="type of the identifier, such as user_id")
        parser.add_argument(
            "--only-identifier",
            action="store_true",
            help="erase only this identifier, not the whole profile; needs --type",
        )
        parser.add_argument("--mode", choices=[DELETE, BLANK], default=DELETE)
        parser.add_argument("--reason", default="")
        parser.add_argument("--yes", action="store_true", help="erase; this cannot be undone")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["only_identifier"] and not options["type"]:
            raise CommandError("--only-identifier needs --type")
        try:
            counts, told = _erased(options) if options["yes"] else _counted(options)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        for table, count in counts.items():
            self.stdout.write(f"{count:>10,}  {table}")
        self.stdout.write(told)


def _erased(options: dict[str, Any]) -> tuple[dict[str, int], str]:
    erasure = people_erasure.erase_person(
        Destination.named(options["destination"]),
        options["value"],
        options["type"],
        whole_profile=not options["only_identifier"],
        mode=options["mode"],
        actor="command line",
        reason=options["reason"],
    )
    return erasure.counts, f"Erased: receipt {erasure.pk}."


def _counted(options: dict[str, Any]) -> tuple[dict[str, int], str]:
    destination = Destination.named(options["destination"])
    whole_profile = not options["only_identifier"]
    with store.connect(destination) as opened:
        identifiers = people_erasure.identifiers_to_erase(
            opened, options["value"], options["type"], whole_profile=whole_profile
        )
        found = preview_erasure(destination, opened, identifiers, mode=options["mode"])
    return found.counts, "Nothing was erased. Add --yes to erase."
