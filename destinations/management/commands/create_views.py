"""manage.py create_views: the ready views of sessions and daily active users."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db.models import Q

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.operations.analyst_views import create_ready_views


class Command(BaseCommand):
    help = "Create the views rudder_sessions and rudder_daily_active_users in a warehouse."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("destination", help="id or name of the destination")
        parser.add_argument(
            "--namespace", help="only this schema; default: all schemas of the destination"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        destination = _destination(options["destination"])
        namespaces = [options["namespace"]] if options["namespace"] else _namespaces(destination)
        if not namespaces:
            raise CommandError(f"nothing has been loaded into {destination} yet")
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            for namespace in namespaces:
                for name in create_ready_views(config, namespace):
                    self.stdout.write(f"made {name}")
        except (DestinationError, DestinationUnavailableError) as error:
            raise CommandError(str(error)) from error


def _destination(text: str) -> Destination:
    found = Destination.objects.filter(Q(public_id=text) | Q(name=text), type="POSTGRES")
    if found.count() == 1:
        return found.get()
    known = ", ".join(
        f"{each.public_id} ({each})" for each in Destination.objects.filter(type="POSTGRES")
    )
    raise CommandError(f"{text!r} is not one destination; there are: {known or 'none'}")


def _namespaces(destination: Destination) -> list[str]:
    names = destination.connections.exclude(namespace="").values_list("namespace", flat=True)
    return sorted(set(names))
