from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.reads.explain import JOINED, PathStep, explain
from events.people import store


class Command(BaseCommand):
    help = "Show why two identifiers belong to one profile, or why they do not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")
        parser.add_argument("a", help="value of an identifier, or profile id")
        parser.add_argument("b")
        parser.add_argument("--type-a", help="type of the identifier, such as user_id")
        parser.add_argument("--type-b")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with store.connect(Destination.named(options["destination"])) as opened:
                steps = explain(
                    opened.conn,
                    opened.schema,
                    options["a"],
                    options["b"],
                    options["type_a"],
                    options["type_b"],
                )
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
        joined = all(step.outcome == JOINED for step in steps)
        self.stdout.write("One profile:" if joined else "Not one profile:")
        for step in steps:
            self.stdout.write(f"  {line(step)}")


def line(step: PathStep) -> str:
    ends = f"{step.from_type} {step.from_value!r}"
    if step.to_type:
        ends += f" - {step.to_type} {step.to_value!r}"
    stated = ""
    if step.message_id is not None and step.received_at is not None:
        stated = f" from event {step.message_id} of {step.source_id} at {step.received_at:%F %T}"
    detail = f" ({step.detail})" if step.detail else ""
    return f"{step.outcome}: {ends}{stated}{detail}"
