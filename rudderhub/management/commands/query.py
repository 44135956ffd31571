"""`manage.py query`: a read-only query in a warehouse, for machines without psql."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from psycopg import sql as pgsql

from destinations.interface import DestinationError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig


class Command(BaseCommand):
    help = "Run a read-only SQL query in a warehouse and print the rows, on machines without psql."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sql", help='such as "SELECT * FROM tracks"')
        parser.add_argument("--destination", help="name of the destination; default: the first one")

    def handle(self, *args: Any, **options: Any) -> None:
        destinations = Destination.objects.filter(type="POSTGRES").order_by("id")
        if options["destination"]:
            destinations = destinations.filter(name=options["destination"])
        destination = destinations.first()
        if destination is None:
            raise CommandError("there is no such destination")
        try:
            names, rows = _query_result(destination, options["sql"])
        except (psycopg.Error, DestinationError) as error:
            raise CommandError(str(error)) from error
        for line in _table_lines(names, rows):
            self.stdout.write(line)


def _query_result(destination: Destination, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows; the search path has the schemas of the tables and the profiles."""
    config = PostgresConfig.from_config(destination.config, destination.secrets)
    loaded = destination.connections.exclude(namespace="").order_by("id")
    schemas = [*loaded.values_list("namespace", flat=True), config.identity_schema, "public"]
    search_path = ", ".join(pgsql.Identifier(schema).as_string() for schema in schemas)
    with psycopg.connect(config.conninfo()) as conn:
        conn.read_only = True
        conn.execute("SELECT set_config('search_path', %s, true)", [search_path])
        cursor = conn.execute(sql.encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def _table_lines(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The names, a rule and the rows; each column is as wide as its longest value."""
    cells = [list(names), *([_cell_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
