"""manage.py reapply_discards: writes discarded values that now fit into their rows."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.base import CommandParser

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn, connect
from destinations.postgres.operations.reapply_discards import (
    discarded_columns,
    reapply_discards,
    widen_column,
)


class Command(DestinationCommand):
    help = (
        "List the columns of a namespace that have discards. With a table and a column, write the "
        "values that now fit into their rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("namespace")
        parser.add_argument("table", nargs="?")
        parser.add_argument("column", nargs="?")
        parser.add_argument(
            "--widen",
            action="store_true",
            help="first change an integer column to numeric; locks the table while it is rewritten",
        )

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        with connect(config) as conn:
            self._reapply(conn, config, options)

    def _reapply(self, conn: Conn, config: PostgresConfig, options: dict[str, Any]) -> None:
        namespace, table, column = options["namespace"], options["table"], options["column"]
        if not table:
            for group in discarded_columns(conn, namespace):
                self.stdout.write(f"{group.table} {group.column}: {group.discards}: {group.reason}")
            return
        if not column:
            raise CommandError("name the column as well")
        if options["widen"]:
            widen_column(conn, namespace, config.identity_schema, table, column)
        result = reapply_discards(conn, namespace, table, column)
        self.stdout.write(f"{result.applied} applied, {result.left} left")
