"""manage.py create_views: creates the views of sessions and daily active users."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.base import CommandParser

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.operations.analyst_views import create_analyst_views


class Command(DestinationCommand):
    help = "Create the views rudder_sessions and rudder_daily_active_users in a warehouse."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--namespace", help="only this schema; default: all schemas of the destination"
        )

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        chosen = options["namespace"]
        namespaces = [chosen] if chosen else destination.namespaces()
        if not namespaces:
            raise CommandError(f"nothing has been loaded into {destination} yet")
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        for namespace in namespaces:
            for name in create_analyst_views(config, namespace):
                self.stdout.write(f"created {name}")
