"""Explains why two identifiers are in one profile or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from destinations.postgres.connection import Conn
from destinations.postgres.identity.query import query
from destinations.warehouse.identity.statements import Identifier

EXPLAIN = "SELECT * FROM {schema}.rudder_explain(%s, %s, %s, %s)"
JOINED = "joined"


@dataclass(frozen=True)
class PathStep:
    """A link of the shortest path, or with an outcome other than JOINED a reason for no path.

    The columns of identifiers that do not concern a reason are None.
    """

    number: int
    outcome: str
    from_type: str | None
    from_value: str | None
    to_type: str | None
    to_value: str | None
    message_id: str | None
    source_id: str | None
    received_at: datetime | None
    detail: str | None

    @property
    def ends(self) -> tuple[Identifier, Identifier]:
        return (
            Identifier(self.from_type or "", self.from_value or ""),
            Identifier(self.to_type or "", self.to_value or ""),
        )


def explain(
    conn: Conn, schema: str, a: str, b: str, type_a: str | None = None, type_b: str | None = None
) -> list[PathStep]:
    """The path between a and b, which are identifier values or profile ids; types are optional."""
    rows = conn.execute(query(schema, EXPLAIN), [a, b, type_a, type_b]).fetchall()
    return [PathStep(*row) for row in rows]
