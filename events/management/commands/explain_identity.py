"""manage.py explain_identity: shows why two identifiers belong to one profile or do not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.reads.explain import JOINED, PathStep, explain
from events.people import store


class Command(DestinationCommand):
    help = "Show why two identifiers belong to one profile, or why they do not."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("a", help="value of an identifier, or profile id")
        parser.add_argument("b")
        parser.add_argument("--type-a", help="type of the identifier, such as user_id")
        parser.add_argument("--type-b")

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        ends = [options[name] for name in ("a", "b", "type_a", "type_b")]
        with store.connect(destination) as identities:
            steps = explain(identities.conn, identities.schema, *ends)
        joined = all(step.outcome == JOINED for step in steps)
        self.stdout.write("One profile:" if joined else "Not one profile:")
        for step in steps:
            self.stdout.write(f"  {step_text(step)}")


def step_text(step: PathStep) -> str:
    ends = f"{step.from_type} {step.from_value!r}"
    if step.to_type:
        ends += f" - {step.to_type} {step.to_value!r}"
    stated = ""
    if step.message_id is not None and step.received_at is not None:
        stated = f" from event {step.message_id} of {step.source_id} at {step.received_at:%F %T}"
    detail = f" ({step.detail})" if step.detail else ""
    return f"{step.outcome}: {ends}{stated}{detail}"
