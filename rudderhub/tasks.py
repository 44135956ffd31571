from __future__ import annotations

import logging

import psycopg
from celery import shared_task
from django.contrib.admin.models import CHANGE, LogEntry

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.discards import (
    columns_with_discards,
    reapply_discards,
    widen_column,
)
from destinations.postgres.loader import connect
from rudderhub.reapplying import Column, Progress

logger = logging.getLogger(__name__)


@shared_task
def widen_and_reapply(
    destination_pk: int, schema: str, table: str, column: str, user_pk: int
) -> None:
    """Make room for a column's discards and write them; the audit log has the outcome."""
    destination = Destination.objects.get(pk=destination_pk)
    config = PostgresConfig.of(destination.config, destination.secrets)
    named = Column(destination_pk, schema, table, column)
    try:
        outcome = _apply(config, named)
    except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
        logger.warning("discards not re-applied destination=%s: %s", destination_pk, error)
        outcome = f"not re-applied: {' '.join(str(error).split())}"
    LogEntry.objects.log_actions(user_pk, [destination], CHANGE, f"Discards of {named}: {outcome}")
    named.tell(Progress(outcome=outcome))


def _apply(config: PostgresConfig, column: Column) -> str:
    place = (column.schema, column.table, column.name)
    with connect(config) as conn:
        total = sum(
            each.discards
            for each in columns_with_discards(conn, column.schema)
            if (each.table, each.column) == (column.table, column.name)
        )
        column.tell(Progress(0, total))
        try:
            widen_column(conn, column.schema, config.identity_schema, column.table, column.name)
        except DestinationError as error:
            logger.info("column stays: %s", error)
        done = reapply_discards(conn, *place, lambda seen: column.tell(Progress(seen, total)))
    return f"{done.applied:,} re-applied, {done.left:,} still do not fit"
