"""The tables of event schemas in Postgres's catalogue.

information_schema has the same data, but takes seconds for hundreds of tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql as pgsql

from destinations.postgres.connection import Conn

TABLES = """
SELECT n.nspname, c.relname,
    json_object_agg(
        a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) ORDER BY a.attnum
    )
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname = ANY (%(schemas)s) AND (%(names)s::text[] IS NULL OR c.relname = ANY (%(names)s))
    AND has_column_privilege(c.oid, a.attnum, 'SELECT, INSERT, UPDATE, REFERENCES')
GROUP BY 1, 2
ORDER BY 1, 2
"""
"""Leaves out columns without any privilege; gives a domain as its base type."""


@dataclass(frozen=True)
class CatalogTable:
    schema: str
    name: str
    columns: dict[str, str]
    """The type of each column, in the order of the table."""

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> pgsql.Identifier:
        return pgsql.Identifier(self.schema, self.name)


def tables(
    conn: Conn, schemas: Sequence[str], names: Iterable[str] | None = None
) -> list[CatalogTable]:
    """The tables of these schemas, or those with one of these names."""
    values = {"schemas": list(schemas), "names": None if names is None else list(names)}
    return [CatalogTable(*row) for row in conn.execute(TABLES, values)]
