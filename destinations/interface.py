"""The interface of a destination type: all that loads know about a destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class DestinationError(Exception):
    """The destination cannot be used because of its config or data; the admin shows the message."""


class DestinationUnavailableError(Exception):
    """The destination does not answer at the moment; the load waits and runs again."""


class ChunkRefusedError(Exception):
    """The destination refused this chunk because of an event in it.

    `reasons` has the reason by event id. If it is empty, the load splits the chunk to find the
    event.
    """

    def __init__(self, message: str, reasons: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the log: ids give the order, the payload is JSON text."""

    id: int
    message_id: str
    payload: str


@dataclass(frozen=True)
class Chunk:
    """The events of one source with after < id <= upto, by id."""

    after: int
    upto: int
    events: Sequence[LoggedEvent]


@dataclass(frozen=True)
class EventFilter:
    """The events that a connection takes: only those with these names, or all others.

    The name of a track event is its event name; the name of another event is its type.
    """

    names: frozenset[str]
    only: bool

    def takes(self, event: Mapping[str, Any]) -> bool:
        return (_event_name(event) in self.names) is self.only


def _event_name(event: Mapping[str, Any]) -> str:
    kind = str(event.get("type", "")).strip().lower()
    return str(event.get("event", "")).strip() if kind == "track" else kind


@dataclass(frozen=True)
class Feed:
    """The connection that is loaded, as plain values; source and destination have public ids."""

    connection_id: int
    namespace: str
    source_id: str
    source_type: str
    source_category: str
    destination_id: str
    destination_type: str
    namespaces: Sequence[str] = ()
    """The namespaces of all connections that the destination has loaded."""
    event_filter: EventFilter | None = None


@dataclass(frozen=True)
class PreparedChunk:
    """A transformed chunk: its content, and the events that have no row in it."""

    chunk: Chunk
    content: object | None
    """The session's own form of the events, for its load(); None if there is nothing to write."""
    dead_letters: Sequence[tuple[LoggedEvent, str]] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of events without a row, by reason."""

    @property
    def dead_letter_ids(self) -> set[int]:
        return {event.id for event, _ in self.dead_letters}


@dataclass(frozen=True)
class LoadResult:
    """The counts of a load, and its changes to the warehouse's tables."""

    loaded: int
    """Number of events that are neither skipped nor dead letters."""
    skipped: Counter[str]
    """Number of events without a row by reason, including the events of erased people."""
    rows: Mapping[str, int]
    """Rows by table."""
    discards: int
    """Number of values that did not fit their column."""
    warnings: Sequence[str] = ()
    """Texts that the operator should read once."""
    repeated: Mapping[str, int] = field(default_factory=dict)
    """Rows by table that were twice in the chunk or already in the table."""
    discarded: Mapping[str, int] = field(default_factory=dict)
    """Discards by table."""
    added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """New columns by table; an empty list means that the table itself is new."""
    rewritten: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """By event id, the payloads without erased values that the log may keep."""


@dataclass(frozen=True)
class CursorCounts:
    """A cursor, and the counts of the events up to it by outcome."""

    position: int
    loaded: int
    skipped: int
    dead_letters: int


class Session(Protocol):
    """A destination that is open for one connection."""

    def position(self) -> int | None:
        """The cursor that the destination stores; None before the first load."""

    def counts(self) -> CursorCounts | None:
        """The cursor with the counts that were committed with it; None before the first load."""

    def prepare(self, chunk: Chunk) -> PreparedChunk:
        """Transform a chunk, without network access, so that it can run during a load."""

    def load(self, prepared: PreparedChunk) -> LoadResult:
        """Write the chunk and move the cursor to its end.

        Raises ChunkRefusedError, DestinationError or DestinationUnavailableError.
        """

    def close(self) -> None: ...


class DestinationType(Protocol):
    name: str
    label: str

    def open(self, config: Mapping[str, Any], secrets: Mapping[str, Any], feed: Feed) -> Session:
        """Raises DestinationError or DestinationUnavailableError."""

    def upkeep(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        """Do the work that loads leave for later; called once per minute."""

    def namespace(self, config: Mapping[str, Any], source_name: str) -> str:
        """The schema for a source that has not been loaded yet."""
