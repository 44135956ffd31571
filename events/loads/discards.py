"""Re-applies a column's discards in a worker; its progress is kept in the cache."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import psycopg
from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import RedisError

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
from events.workers import audit
from events.workers.errors import fingerprint

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 3_600
SILENT_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class Progress:
    seen: int = 0
    total: int = 0
    outcome: str = ""
    """Empty while the worker runs."""
    saved_at: datetime | None = field(default=None, compare=False)

    @property
    def percent(self) -> int:
        return 100 * self.seen // self.total if self.total else 0

    @property
    def is_silent(self) -> bool:
        """Whether the last progress is old: the worker was killed or rewrites a large table."""
        return self.saved_at is not None and timezone.now() - self.saved_at > SILENT_AFTER

    @property
    def is_over(self) -> bool:
        return bool(self.outcome) or self.is_silent


@dataclass(frozen=True)
class DiscardColumn:
    """A column of a warehouse with discards, and its progress in the cache."""

    destination_pk: int
    schema: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"

    @property
    def _key(self) -> str:
        return f"discards:{self.destination_pk}:{self}"

    def start_progress(self) -> bool:
        """False while a worker runs; raises RedisError or OSError if the cache is unavailable."""
        progress = cache.get(self._key)
        if isinstance(progress, Progress) and progress.is_over:
            cache.delete(self._key)
        return cache.add(self._key, Progress(saved_at=timezone.now()), timeout=PROGRESS_SECONDS)

    def save_progress(self, progress: Progress) -> None:
        """Store the progress for the page; the work goes on without a cache."""
        try:
            cache.set(
                self._key, replace(progress, saved_at=timezone.now()), timeout=PROGRESS_SECONDS
            )
        except (RedisError, OSError) as error:
            logger.warning("progress was not saved: %s", type(error).__name__)

    def delete_progress(self) -> None:
        try:
            cache.delete(self._key)
        except (RedisError, OSError) as error:
            logger.warning("progress was not deleted: %s", type(error).__name__)

    def progress(self) -> Progress | None:
        try:
            progress = cache.get(self._key)
        except (RedisError, OSError) as error:
            logger.warning("progress is unknown: %s", type(error).__name__)
            return None
        return progress if isinstance(progress, Progress) else None


def reapply_column(column: DiscardColumn, user_pk: int) -> None:
    """Widen the column and write its discards; the outcome goes to the audit log."""
    destination = Destination.objects.get(pk=column.destination_pk)
    try:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        outcome = _reapply(config, column)
    except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
        outcome = _failure_text(error)
        logger.warning("discards destination=%s %s", destination.pk, outcome)
    except Exception as error:  # the page must show that it ended
        logger.exception("re-applying discards broke destination=%s", destination.pk)
        outcome = _failure_text(error)
    audit.log_action(user_pk, destination, f"Discards of {column}: {outcome}")
    column.save_progress(Progress(outcome=outcome))


def _failure_text(error: Exception) -> str:
    """The error without values, since it goes to the audit log, and advice."""
    text = fingerprint(one_line(error))
    return f"not re-applied: {text}. {advice(text).text}"


def _reapply(config: PostgresConfig, column: DiscardColumn) -> str:
    place = (column.schema, column.table, column.name)
    with connect(config) as conn:
        total = sum(
            listed.discards
            for listed in discarded_columns(conn, column.schema)
            if (listed.table, listed.column) == (column.table, column.name)
        )
        column.save_progress(Progress(0, total))
        widened = _widen(conn, config, column)
        result = reapply_discards(
            conn, *place, lambda seen: column.save_progress(Progress(seen, total))
        )
    return f"{widened}{result.applied:,} re-applied, {result.left:,} still do not fit"


def _widen(conn: Conn, config: PostgresConfig, column: DiscardColumn) -> str:
    """Make a whole-number column numeric; the text about it is empty for other types."""
    before = reapply_preview(conn, column.schema, column.table, column.name)
    if before is None or not before.becomes:
        return ""
    try:
        widen_column(conn, column.schema, config.identity_schema, column.table, column.name)
    except DestinationError as error:
        return f"{error}; "
    return "the column is numeric now; "
