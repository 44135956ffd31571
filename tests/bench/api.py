"""What the database needs to answer the profile API, with many people and their events.

`python -m tests.bench.api URL` runs it in any database. The people and rows are made by SQL, in
the form that loads give them; then each operation of the API is timed on people taken at random,
each asked for by one of its identifiers or ids.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from destinations.postgres.connection import SETTINGS, Conn
from destinations.postgres.identity import graph_schema
from destinations.postgres.identity.query import query
from destinations.postgres.load import table_sql
from destinations.postgres.reads import profiles
from destinations.warehouse.identity.statements import GraphOptions

SCHEMA, EVENTS = "bench_api", "bench_api_events"
PEOPLE = 200_000
TRACKS, PAGES, IDENTIFIES = 1_200_000, 400_000, 200_000
BUSY = 5_000
"""Events of the busiest person."""
ASKED = 400
PAGE = 50

MAKE_PEOPLE = """
CREATE TEMP TABLE person AS
SELECT
    p, 3 * p AS root, timestamptz '2026-01-01' + p * interval '10 s' AS at,
    p %% 5 = 0 AS has_met,
    {schema}.identity_key('anonymous_id', 'phone-' || p) AS rudder_id,
    {schema}.identity_key('user_id', 'user-' || p) AS user_key,
    {schema}.identity_key('anonymous_id', 'laptop-' || p) AS laptop_key
FROM generate_series(0, %s - 1) p;
"""
FILL = """
INSERT INTO {schema}.identity_node
    (node_id, comp_id, first_received_at, node_key, id_type, id_value)
SELECT root, root, at, rudder_id, 'anonymous_id', 'phone-' || p FROM person
UNION ALL
SELECT root + 1, root, at + interval '1 s', user_key, 'user_id', 'user-' || p FROM person
UNION ALL
SELECT root + 2, CASE WHEN has_met THEN root + 2 ELSE root END, at + interval '2 s', laptop_key,
    'anonymous_id', 'laptop-' || p
FROM person;

INSERT INTO {schema}.identity_edge (node_a, node_b, first_received_at, message_id, source_id)
SELECT root, root + 1, at + interval '1 s', 'identify-' || p, 'bench' FROM person
UNION ALL
SELECT root + 2, root + 1, at + interval '2 s', 'track-' || p, 'bench' FROM person;

INSERT INTO {schema}.identity_component
    (comp_id, root_id, size, ncomp, anchor_at, rudder_id, updated_at)
SELECT root, root, 3, CASE WHEN has_met THEN 2 ELSE 1 END, at, rudder_id, now() FROM person
UNION ALL
SELECT root + 2, root, NULL, NULL, NULL, NULL, NULL FROM person WHERE has_met;

INSERT INTO {schema}.identity_alias (old_rudder_id, comp_id)
SELECT laptop_key, root + 2 FROM person WHERE has_met;

INSERT INTO {schema}.identity_activity (node_id, first_at, last_at)
SELECT root, at, at FROM person
UNION ALL
SELECT root + 1, at + interval '1 s', at + interval '30 days' FROM person;

INSERT INTO {schema}.identity_trait (node_id, traits)
SELECT root + 1, jsonb_object_agg('trait_' || t, jsonb_build_array(jsonb_build_array(
    'value ' || t || ' of ' || p, '2026-01-01T00:00:00.000000+00:00',
    '2026-01-01T00:00:00.000000+00:00', 'identify-' || p)))
FROM person, generate_series(1, 8) t
GROUP BY p, root;

INSERT INTO {schema}.rudder_profiles
SELECT rudder_id, 'user-' || p, NULL, NULL,
    (SELECT jsonb_object_agg('trait_' || t, 'value ' || t || ' of ' || p)
     FROM generate_series(1, 8) t),
    jsonb_build_object('anonymous_id', jsonb_build_array('phone-' || p, 'laptop-' || p),
        'user_id', jsonb_build_array('user-' || p)),
    3, at, at + interval '30 days', now()
FROM person;
"""
TABLES = {"tracks": ("track-", TRACKS), "pages": ("page-", PAGES), "identifies": ("i-", IDENTIFIES)}
COLUMNS = {
    **dict.fromkeys(("id", "user_id", "anonymous_id", "event", "context_page_url"), "string"),
    **dict.fromkeys(("context_user_agent", "context_locale", "context_ip"), "string"),
    **dict.fromkeys(("timestamp", "received_at", "original_timestamp"), "datetime"),
    "uuid_ts": "datetime",
    "rudder_profile_id": "uuid",
}
FILL_TABLE = """
INSERT INTO {table} (
    id, user_id, anonymous_id, event, context_page_url, context_user_agent, context_locale,
    timestamp, received_at, rudder_profile_id
)
SELECT
    %(prefix)s || n, 'user-' || p, 'phone-' || p, 'product_viewed', repeat('u', 60),
    repeat('a', 90), 'en-US', stamp.at, stamp.at,
    CASE WHEN has_met AND n %% 2 = 0 THEN laptop_key ELSE rudder_id END
FROM generate_series(0, %(rows)s - 1) n
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01' + n * interval '2 s' AS at) stamp
JOIN person
    ON p = CASE WHEN n %% (%(rows)s / %(busy)s) = 0 THEN 0 ELSE n * 7919::bigint %% %(people)s END
ORDER BY n
"""


def figures(url: str) -> dict[str, str]:
    with closing(psycopg.connect(url, autocommit=True, prepare_threshold=None)) as conn:
        try:
            make(conn)
            conn.execute(SETTINGS)
            return _measure(conn)
        finally:
            for schema in (SCHEMA, EVENTS):
                conn.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))


def make(conn: Conn) -> None:
    for schema in (SCHEMA, EVENTS):
        conn.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
    graph_schema.ensure_schema(conn, SCHEMA, "bench", GraphOptions())
    conn.execute(query(SCHEMA, MAKE_PEOPLE), [PEOPLE])
    conn.execute("CREATE UNIQUE INDEX ON person (p); ANALYZE person")
    conn.execute(query(SCHEMA, FILL))
    conn.execute(table_sql.create_schema(EVENTS))
    for table, (prefix, rows) in TABLES.items():
        for statement in table_sql.create_table(EVENTS, table, COLUMNS):
            conn.execute(statement)
        fill = SQL(FILL_TABLE).format(table=Identifier(EVENTS, table))
        values = {"prefix": prefix, "rows": rows, "busy": BUSY, "people": PEOPLE}
        conn.execute(fill, values)
        conn.execute(SQL("VACUUM ANALYZE {}").format(Identifier(EVENTS, table)))
    conn.execute("VACUUM ANALYZE")


def _measure(conn: Conn) -> dict[str, str]:
    chance = random.Random(20260303)
    asked = [chance.randrange(PEOPLE) for _ in range(ASKED)]
    names = ("phone-", "user-", "laptop-")
    values = [f"{names[n % 3]}{p}" for n, p in enumerate(asked)]
    former = conn.execute(
        "SELECT laptop_key FROM person WHERE has_met ORDER BY random() LIMIT %s", [ASKED]
    ).fetchall()
    ids = [row[0] for row in former]
    busiest = conn.execute("SELECT rudder_id FROM person WHERE p = 0").fetchall()[0][0]
    operations: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        f"profile API, {3 * PEOPLE:,} identifiers: any of them": (
            lambda value: _found(conn, value),
            values,
        ),
        "… by a former id, with its former ids": (lambda key: _profile(conn, key), ids),
        "… its traits with their events": (lambda key: _traits(conn, key), ids),
        f"… its newest {PAGE} events": (lambda key: _events(conn, key), ids),
        f"… of a person with {BUSY:,} in each table": (
            lambda key: _events(conn, key),
            [busiest] * 50,
        ),
    }
    return {name: _timed(ask, asked) for name, (ask, asked) in operations.items()}


def _timed(ask: Callable[[Any], Any], asked: list[Any]) -> str:
    took = []
    for value in asked:
        started = time.perf_counter()
        if not ask(value):
            raise RuntimeError(f"nothing was found of {value}")
        took.append((time.perf_counter() - started) * 1000)
    return f"{statistics.median(took):.2f} ms, p95 {statistics.quantiles(took, n=20)[-1]:.2f} ms"


def _found(conn: Conn, value: str) -> Any:
    return profiles.find_profiles(conn, SCHEMA, value)


def _profile(conn: Conn, key: UUID) -> list[UUID]:
    (profile,) = profiles.find_profiles(conn, SCHEMA, str(key))
    return [profile.rudder_id, *profiles.former_ids(conn, SCHEMA, profile.rudder_id)]


def _traits(conn: Conn, key: UUID) -> Any:
    (profile,) = profiles.find_profiles(conn, SCHEMA, str(key))
    options = graph_schema.read_meta(conn, SCHEMA).options
    return profiles.winning_traits(conn, SCHEMA, profile.rudder_id, options.null_clears)


def _events(conn: Conn, key: UUID) -> Any:
    return profiles.timeline(conn, [EVENTS], _profile(conn, key), None, PAGE)


if __name__ == "__main__":
    for figure, value in figures(sys.argv[1]).items():
        sys.stdout.write(f"{figure:<50}  {value}\n")
