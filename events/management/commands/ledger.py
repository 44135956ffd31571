"""manage.py ledger: compare the counts in the warehouses with the event log."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Connection
from events.loads import ledger
from events.loads import session as loads_session
from events.loads.ledger import Balance
from events.log.counts import advance_counts
from events.log.database import log_connection, log_reader
from events.workers.locks import Lock, try_lock

COLUMNS = ("accepted", "loaded", "dead_letters", "skipped", "lost", "pending", "difference")


class Command(BaseCommand):
    help = (
        "Compare the counts in the warehouses with the event log: accepted = loaded + dead "
        "letters + skipped + lost + pending. Exits with 1 if they do not add up."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON object")
        parser.add_argument("--connection", type=int, help="only the connection with this id")

    def handle(self, *args: Any, **options: Any) -> None:
        with log_reader() as conn:
            advance_counts(conn)
        connections = _connections(options["connection"])
        errors = {
            connection.pk: error
            for connection in connections
            if (error := _refresh_standing(connection))
        }
        balances = ledger.balances(connections)
        if options["json"]:
            rows = [
                _json_row(balance) | {"as_of_last_load": errors.get(balance.connection.pk)}
                for balance in balances
            ]
            self.stdout.write(json.dumps({"connections": rows, "adds_up": _adds_up(balances)}))
        else:
            self._print_table(balances, errors)
        if not _adds_up(balances):
            raise CommandError("the ledger does not add up; see the column difference")

    def _print_table(self, balances: list[Balance], errors: dict[int, str]) -> None:
        names = [str(balance.connection) for balance in balances]
        width = max([len("connection"), *map(len, names)])
        self.stdout.write(
            "  ".join([f"{'connection':<{width}}", *(f"{name:>12}" for name in COLUMNS)])
        )
        for name, balance in zip(names, balances, strict=True):
            values = [f"{getattr(balance, column):>12,}" for column in COLUMNS]
            self.stdout.write("  ".join([f"{name:<{width}}", *values]))
        for balance in balances:
            if error := errors.get(balance.connection.pk):
                self.stdout.write(f"{balance.connection}: as of its last load, because {error}")
        if _adds_up(balances):
            self.stdout.write("The ledger adds up.")


def _connections(pk: int | None) -> list[Connection]:
    connections = Connection.objects.select_related("source", "destination").order_by("pk")
    if pk:
        connections = connections.filter(pk=pk)
        if not connections:
            raise CommandError(f"there is no connection {pk}")
    return list(connections)


def _refresh_standing(connection: Connection) -> str:
    """Record the counts that the warehouse holds; the reason if that is impossible, else empty."""
    if not connection.namespace:
        return ""
    with log_connection() as conn, try_lock(conn, Lock.LOAD, connection.pk) as is_locked:
        if not is_locked:
            return "a worker is loading it"
        try:
            with closing(loads_session.open_session(connection, connection.pk)) as session:
                counts = session.counts()
            ledger.record_standing(connection, counts, connection.start_position or 0)
        except (DestinationError, DestinationUnavailableError) as error:
            return str(error)
    return ""


def _adds_up(balances: list[Balance]) -> bool:
    return not any(balance.difference for balance in balances)


def _json_row(balance: Balance) -> dict[str, Any]:
    connection = balance.connection
    return {
        "connection": connection.pk,
        "source": connection.source.name,
        "destination": connection.destination.name,
        "since": balance.since,
        "upto": balance.upto,
        **{name: getattr(balance, name) for name in COLUMNS},
    }
