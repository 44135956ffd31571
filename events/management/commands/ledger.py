from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Connection
from events.loads import ledger
from events.loads import session as loads_session
from events.loads.ledger import Balance
from events.log import counts
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
            counts.advance_counts(conn)
        connections = _connections(options["connection"])
        silent = {each.pk: error for each in connections if (error := _look(each))}
        found = ledger.balances(connections)
        if options["json"]:
            rows = [
                _row(balance) | {"as_of_last_load": silent.get(balance.connection.pk)}
                for balance in found
            ]
            self.stdout.write(json.dumps({"connections": rows, "adds_up": _adds_up(found)}))
        else:
            self._table(found, silent)
        if not _adds_up(found):
            raise CommandError("the ledger does not add up; see the column difference")

    def _table(self, found: list[Balance], silent: dict[int, str]) -> None:
        names = [str(balance.connection) for balance in found]
        width = max([len("connection"), *map(len, names)])
        self.stdout.write(
            "  ".join([f"{'connection':<{width}}", *(f"{name:>12}" for name in COLUMNS)])
        )
        for name, balance in zip(names, found, strict=True):
            values = [f"{getattr(balance, column):>12,}" for column in COLUMNS]
            self.stdout.write("  ".join([f"{name:<{width}}", *values]))
        for balance in found:
            if error := silent.get(balance.connection.pk):
                self.stdout.write(f"{balance.connection}: as of its last load, because {error}")
        if _adds_up(found):
            self.stdout.write("The ledger adds up.")


def _connections(pk: int | None) -> list[Connection]:
    known = Connection.objects.select_related("source", "destination").order_by("pk")
    found = list(known.filter(pk=pk) if pk else known)
    if pk and not found:
        raise CommandError(f"there is no connection {pk}")
    return found


def _look(connection: Connection) -> str:
    """Take the counts from the warehouse itself; the reason when that cannot be."""
    if not connection.namespace:
        return ""
    with log_connection() as conn, try_lock(conn, Lock.LOAD, connection.pk) as taken:
        if not taken:
            return "a worker is loading it"
        try:
            session = loads_session.open_session(connection, connection.pk)
        except (DestinationError, DestinationUnavailableError) as error:
            return str(error)
        try:
            ledger.record_standing(connection, session.counts(), connection.start_position or 0)
        except (DestinationError, DestinationUnavailableError) as error:
            return str(error)
        finally:
            session.close()
    return ""


def _adds_up(found: list[Balance]) -> bool:
    return not any(balance.difference for balance in found)


def _row(balance: Balance) -> dict[str, Any]:
    connection = balance.connection
    return {
        "connection": connection.pk,
        "source": connection.source.name,
        "destination": connection.destination.name,
        "since": balance.since,
        "upto": balance.upto,
        **{name: getattr(balance, name) for name in COLUMNS},
    }
