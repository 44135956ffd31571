"""manage.py erase_person: erases a person, or counts what would be erased."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.warehouse.identity.erasure import BLANK, DELETE
from events.people import erasure as people_erasure
from events.people import store
from events.people.erasure_preview import preview_erasure

NOTHING_ERASED = "Nothing was erased. Add --yes to erase."


class Command(DestinationCommand):
    help = (
        "Erase a person or one identifier from the warehouse and the event log, and suppress "
        "later data. Without --yes it only counts what would be erased."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
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

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        value, id_type, mode = (options[name] for name in ("value", "type", "mode"))
        whole_profile = not options["only_identifier"]
        if not whole_profile and not id_type:
            raise CommandError("--only-identifier needs --type")
        if options["yes"]:
            erasure = people_erasure.erase_person(
                destination,
                value,
                id_type,
                whole_profile=whole_profile,
                mode=mode,
                actor="command line",
                reason=options["reason"],
            )
            counts, text = erasure.counts, f"Erased: receipt {erasure.pk}."
        else:
            with store.connect(destination) as identities:
                identifiers = people_erasure.identifiers_to_erase(
                    identities, value, id_type, whole_profile=whole_profile
                )
                preview = preview_erasure(destination, identities, identifiers, mode=mode)
            counts, text = preview.counts, NOTHING_ERASED
        for table, count in counts.items():
            self.stdout.write(f"{count:>10,}  {table}")
        self.stdout.write(text)
