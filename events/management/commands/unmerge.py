"""manage.py unmerge: cuts links between identifiers, or restores cut links."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.operations import unmerge
from destinations.postgres.operations.operation import OperationResult
from destinations.warehouse.identity.statements import Identifier
from events.management.commands.explain_identity import step_text
from events.people import store


class Command(DestinationCommand):
    help = "Cut links of a profile, or restore cut links. Without --yes it only shows the result."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "identifiers",
            nargs="*",
            metavar="TYPE VALUE",
            help="one identifier, or the two identifiers of a link, each as type and value",
        )
        parser.add_argument("--event", help="all links made by the event with this message id")
        parser.add_argument("--undo", action="store_true", help="restore a cut link")
        parser.add_argument("--reason", default="")
        parser.add_argument("--yes", action="store_true", help="make the change")

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        words = options["identifiers"]
        if len(words) not in (0, 2, 4) or bool(words) == bool(options["event"]):
            raise CommandError("give one identifier, two identifiers or an event")
        if options["undo"] and len(words) != 4:  # noqa: PLR2004
            raise CommandError("--undo needs the two identifiers of a link")
        ends = [Identifier(*words[start : start + 2]) for start in range(0, len(words), 2)]
        with store.connect(destination) as identities:
            message_id, reason = options["event"], options["reason"]
            stated = store.stated_pairs(destination, identities, message_id) if message_id else ()
            with identities.operation("command line", dry_run=not options["yes"]) as op:
                if options["undo"]:
                    self._show(unmerge.restore_links(op, [(ends[0], ends[1])]))
                    return
                if message_id:
                    result = unmerge.unmerge_event(op, message_id, reason, more_pairs=stated)
                elif len(ends) == 1:
                    result = unmerge.unmerge_identifier(op, ends[0], reason)
                else:
                    result = unmerge.unmerge_links(op, [(ends[0], ends[1])], reason)
            for a, b in result.cut:
                self.stdout.write(f"cut: {a.type} {a.value!r} - {b.type} {b.value!r}")
            self._show(result.outcome)
            for step in result.path:
                self.stdout.write(f"still {step_text(step)}")

    def _show(self, outcome: OperationResult) -> None:
        for profile in outcome.after:
            listed = ", ".join(f"{k}: {' '.join(v)}" for k, v in profile.identifiers.items())
            self.stdout.write(f"profile {profile.rudder_id}: {listed}")
        for table, count in outcome.moved.items():
            self.stdout.write(f"rows to move: {count:,} of {table}")
