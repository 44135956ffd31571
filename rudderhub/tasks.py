from __future__ import annotations

import logging

import psycopg
from celery import shared_task
from django.contrib.admin.models import CHANGE, LogEntry

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.discards import reapply_discards, widen_column
from destinations.postgres.loader import connect

logger = logging.getLogger(__name__)


@shared_task
def widen_and_reapply(
    destination_pk: int, schema: str, table: str, column: str, user_pk: int
) -> None:
    """Make room for a column's discards and write them; the audit log has the outcome."""
    destination = Destination.objects.get(pk=destination_pk)
    config = PostgresConfig.of(destination.config, destination.secrets)
    try:
        outcome = _apply(config, schema, table, column)
    except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
        logger.warning("discards not re-applied destination=%s: %s", destination_pk, error)
        outcome = f"not re-applied: {' '.join(str(error).split())}"
    LogEntry.objects.log_actions(
        user_pk, [destination], CHANGE, f"Discards of {schema}.{table}.{column}: {outcome}"
    )


def _apply(config: PostgresConfig, schema: str, table: str, column: str) -> str:
    with connect(config) as conn:
        try:
            widen_column(conn, schema, config.identity_schema, table, column)
        except DestinationError as error:
            logger.info("column stays: %s", error)
        done = reapply_discards(conn, schema, table, column)
    return f"{done.applied:,} re-applied, {done.left:,} still do not fit"
