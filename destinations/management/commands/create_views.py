"""manage.py create_views: creates the views of sessions and daily active users."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.operations.analyst_views import create_analyst_views


class Command(BaseCommand):
    help = "Create the views rudder_sessions and rudder_daily_active_users in a warehouse."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("destination", help="id or name of the destination")
        parser.add_argument(
            "--namespace", help="only this schema; default: all schemas of the destination"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            destination = Destination.named(options["destination"])
            chosen = options["namespace"]
            namespaces = [chosen] if chosen else destination.namespaces()
            if not namespaces:
                raise CommandError(f"nothing has been loaded into {destination} yet")
            config = PostgresConfig.from_config(destination.config, destination.secrets)
            for namespace in namespaces:
                for name in create_analyst_views(config, namespace):
                    self.stdout.write(f"created {name}")
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error
