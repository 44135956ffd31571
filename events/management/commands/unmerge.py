from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.operations import unmerge
from destinations.postgres.operations.operation import OperationResult
from destinations.warehouse.identity.statements import Identifier
from events.management.commands.explain_identity import line
from events.people import store


class Command(BaseCommand):
    help = "Cut links of a profile, or restore cut links. Without --yes it only shows the result."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")
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

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["identifiers"]
        if len(words) not in (0, 2, 4) or bool(words) == bool(options["event"]):
            raise CommandError("give one identifier, two identifiers or an event")
        if options["undo"] and len(words) != 4:  # noqa: PLR2004
            raise CommandError("--undo needs the two identifiers of a link")
        try:
            destination = Destination.named(options["destination"])
            with store.connect(destination) as opened:
                self._run(destination, opened, words, options)
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error

    def _run(
        self,
        destination: Destination,
        opened: store.IdentityStore,
        words: list[str],
        options: dict[str, Any],
    ) -> None:
        common: dict[str, Any] = {"actor": "command line", "dry_run": not options["yes"]}
        ends = [Identifier(*words[start : start + 2]) for start in range(0, len(words), 2)]
        if options["undo"]:
            self._show(unmerge.restore_links(*opened.args, [(ends[0], ends[1])], **common))
            return
        common["reason"] = options["reason"]
        if options["event"]:
            more_pairs = store.stated_pairs(destination, opened, options["event"])
            done = unmerge.unmerge_event(
                *opened.args, options["event"], more_pairs=more_pairs, **common
            )
        elif len(ends) == 1:
            done = unmerge.unmerge_identifier(*opened.args, ends[0], **common)
        else:
            done = unmerge.unmerge_links(*opened.args, [(ends[0], ends[1])], **common)
        for a, b in done.cut:
            self.stdout.write(f"cut: {a.type} {a.value!r} - {b.type} {b.value!r}")
        self._show(done.outcome)
        for step in done.path:
            self.stdout.write(f"still {line(step)}")

    def _show(self, outcome: OperationResult) -> None:
        for row in outcome.after:
            listed = ", ".join(f"{k}: {' '.join(v)}" for k, v in row.identifiers.items())
            self.stdout.write(f"profile {row.rudder_id}: {listed}")
        for table, count in outcome.moved.items():
            self.stdout.write(f"rows to move: {count:,} of {table}")
