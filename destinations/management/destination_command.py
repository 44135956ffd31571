"""The base of the management commands for one destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination


class DestinationCommand(ABC, BaseCommand):
    """Finds the destination and reports errors of it and of its warehouse as CommandError."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", help="name, destination id or number of the destination")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(Destination.named(options["destination"]), options)
        except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
            raise CommandError(str(error)) from error

    @abstractmethod
    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        """Run the command for the destination that was named."""
