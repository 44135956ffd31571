"""What a type of destination implements; the loads in events know no more of it than this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class DestinationError(Exception):
    """The destination's config or data stands in the way; the admin shows the message."""


class DestinationUnavailableError(Exception):
    """The destination does not answer now; the load waits and runs again."""


class ChunkRefusedError(Exception):
    """The destination refused this chunk for an event in it; smaller chunks find which.

    When the destination knows them, `guilty` has the events' ids and why each is refused.
    """

    def __init__(self, message: str, guilty: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.guilty = dict(guilty or {})


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the log: its id (the order) and its payload, JSON text."""

    id: int
    message_id: str
    payload: str


@dataclass(frozen=True)
class Chunk:
    """The events of one source with after < id <= upto, in order."""

    after: int
    upto: int
    events: Sequence[LoggedEvent]


@dataclass(frozen=True)
class EventFilter:
    """Which events a connection takes: only those called so, or all but those.

    A track event is called by its name, another by its type.
    """

    called: frozenset[str]
    only: bool

    def takes(self, event: Mapping[str, Any]) -> bool:
        return (_called(event) in self.called) is self.only


def _called(event: Mapping[str, Any]) -> str:
    kind = str(event.get("type", "")).strip().lower()
    return str(event.get("event", "")).strip() if kind == "track" else kind


@dataclass(frozen=True)
class Feed:
    """The connection that is loaded, as plain values; ids of source and destination are public."""

    connection_id: int
    namespace: str
    source_id: str
    source_type: str
    source_category: str
    destination_id: str
    destination_type: str
    namespaces: Sequence[str] = ()
    """Of all connections of the destination that were loaded."""
    event_filter: EventFilter | None = None


@dataclass(frozen=True)
class PreparedChunk:
    """A chunk made ready without the destination: what it will hold, and what it will not."""

    chunk: Chunk
    content: object | None
    """What the session made of the events, for its own load(); None for nothing."""
    dead_letters: Sequence[tuple[LoggedEvent, str]] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    """The events without a row, by reason."""

    @property
    def refused(self) -> set[int]:
        """The ids of the events that are dead letters."""
        return {event.id for event, _ in self.dead_letters}


@dataclass(frozen=True)
class LoadResult:
    """What a load wrote: events, rows by table, and the values that did not fit their column."""

    loaded: int
    """The events that are neither skipped nor dead letters."""
    skipped: Counter[str]
    """As prepared, with the events of erased people."""
    rows: Mapping[str, int]
    discards: int
    warnings: Sequence[str] = ()
    """What the operator should know, once."""
    repeated: Mapping[str, int] = field(default_factory=dict)
    """Rows by table that came twice in the chunk or were there before."""
    discarded: Mapping[str, int] = field(default_factory=dict)
    """The discards by table."""
    added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """New columns by table; a table without any is new itself."""
    rewritten: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """What the log may keep of the events that name erased people, by their ids."""


@dataclass(frozen=True)
class CursorCounts:
    """A cursor, and what became of the events that it has passed."""

    position: int
    loaded: int
    skipped: int
    dead_letters: int


class Session(Protocol):
    """A destination opened for one connection."""

    def position(self) -> int | None:
        """The cursor as the destination holds it; None before the first load."""

    def counts(self) -> CursorCounts | None:
        """As position, with the counts that were committed with it."""

    def prepare(self, chunk: Chunk) -> PreparedChunk:
        """Transform a chunk; touches no network, so that it can run beside a load."""

    def load(self, prepared: PreparedChunk) -> LoadResult:
        """Write the chunk and move the cursor to its end."""

    def close(self) -> None: ...


class DestinationType(Protocol):
    name: str
    label: str

    def open(self, config: Mapping[str, Any], secrets: Mapping[str, Any], feed: Feed) -> Session:
        """Raises DestinationError for a bad config, DestinationUnavailableError for no answer."""

    def upkeep(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        """What loads leave for later; called once a minute."""

    def namespace(self, config: Mapping[str, Any], source_name: str) -> str:
        """The schema for a source that has not been loaded yet."""
