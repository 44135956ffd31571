from __future__ import annotations

import logging

import psycopg

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn, connect, one_line
from destinations.postgres.operations.reapply_discards import (
    discarded_columns,
    reapply_discards,
    widen_column,
)
from destinations.postgres.operations.reapply_preview import reapply_preview
from events.loads.advice import advice
from events.loads.discard_progress import DiscardColumn, Progress
from events.workers import audit
from events.workers.errors import fingerprint

logger = logging.getLogger(__name__)


def reapply_column(column: DiscardColumn, user_pk: int) -> None:
    """Make room for a column's discards and write them; the audit log has the outcome."""
    destination = Destination.objects.get(pk=column.destination_pk)
    try:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        outcome = _apply(config, column)
    except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
        outcome = _failed(error)
        logger.warning("discards destination=%s %s", destination.pk, outcome)
    except Exception as error:  # whoever looks must see that it ended
        logger.exception("re-applying discards broke destination=%s", destination.pk)
        outcome = _failed(error)
    audit.log_action(user_pk, destination, f"Discards of {column}: {outcome}")
    column.tell(Progress(outcome=outcome))


def _failed(error: Exception) -> str:
    """Without values: it goes to the audit log."""
    said = fingerprint(one_line(error))
    return f"not re-applied: {said}. {advice(said).text}"


def _apply(config: PostgresConfig, column: DiscardColumn) -> str:
    place = (column.schema, column.table, column.name)
    with connect(config) as conn:
        total = sum(
            each.discards
            for each in discarded_columns(conn, column.schema)
            if (each.table, each.column) == (column.table, column.name)
        )
        column.tell(Progress(0, total))
        widened = _widen(conn, config, column)
        done = reapply_discards(conn, *place, lambda seen: column.tell(Progress(seen, total)))
    return f"{widened}{done.applied:,} re-applied, {done.left:,} still do not fit"


def _widen(conn: Conn, config: PostgresConfig, column: DiscardColumn) -> str:
    """What to say of it: nothing for a column of another type, which stays."""
    before = reapply_preview(conn, column.schema, column.table, column.name)
    if before is None or not before.becomes:
        return ""
    try:
        widen_column(conn, column.schema, config.identity_schema, column.table, column.name)
    except DestinationError as error:
        return f"{error}; "
    return "the column is numeric now; "
