"""What identities cost: `python -m tests.bench identity [identifiers]`, figures of one run.

Each stream goes through T1 as loads send it, in chunks of 10,000, its commit included. The graph
alone is T1 without its last steps, the traits and profiles.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import psycopg
from psycopg.sql import SQL
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from destinations.postgres.identity import graph_schema, profile_rows
from destinations.postgres.identity import resolve as identity_resolve
from destinations.postgres.identity.query import query
from destinations.postgres.operations import erase, unmerge
from destinations.postgres.operations.operation import begin_operation
from destinations.postgres.reads import profiles as reads_profiles
from destinations.postgres.resolved_views import create_resolved_view
from destinations.warehouse.identity.statements import (
    ANONYMOUS_ID,
    USER_ID,
    GraphOptions,
    Identifier,
    Statement,
    statement,
)
from rudderhub.celery import collect_garbage_rarely
from tests.support.identity_graph import ORACLE

Conn = psycopg.Connection[tuple[Any, ...]]

CHUNK = 10_000
SCHEMA, EVENTS = "bench_identity", "bench_events"
START = datetime(2026, 1, 1, tzinfo=UTC)
REALISTIC = 1_000_000
WORST = 100_000
GIANT = 100_000
VIEW_ROWS = 2_000_000
PERSON = 1_000


def figures(dsn: str, identifiers: int = REALISTIC) -> dict[str, str]:
    collect_garbage_rarely()  # as a worker does
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        found = realistic(conn, identifiers)
        found |= view(conn)
        found |= lookups(conn)
        for name, links in (("star", star()), ("chain", chain()), ("random", threshold())):
            found |= worst(conn, name, links)
        found |= giants(conn)
        found |= operators(conn)
        conn.execute(SQL("DROP SCHEMA bench_identity CASCADE"))
        conn.execute(SQL("DROP SCHEMA IF EXISTS bench_events CASCADE"))
    return found


def fresh(conn: Conn, **options: Any) -> None:
    conn.execute(SQL("DROP SCHEMA IF EXISTS bench_identity CASCADE"))
    graph_schema.ensure_schema(conn, SCHEMA, "bench", GraphOptions(**options))


class Took(NamedTuple):
    """Seconds of a chunk's T1."""

    whole: float
    graph: float


def resolve(conn: Conn, statements: Sequence[Statement]) -> Took:
    write_profiles = identity_resolve.Resolution.write_profiles
    profiles = 0.0

    def timed(*arguments: Any) -> None:
        nonlocal profiles
        began = time.perf_counter()
        write_profiles(*arguments)
        profiles = time.perf_counter() - began

    started = time.perf_counter()
    with (
        mock.patch.object(identity_resolve.Resolution, "write_profiles", timed),
        graph_schema.operator_lock_shared(conn, SCHEMA),
    ):
        identity_resolve.resolve_statements(conn, SCHEMA, statements)
    whole = time.perf_counter() - started
    return Took(whole, whole - profiles)


def realistic(conn: Conn, identifiers: int) -> dict[str, str]:
    """The oracle's stream: visitors, sign-ups, devices, aliases, merges, junk."""
    fresh(conn)
    took: list[Took] = []
    stored = 0
    while stored < identifiers:
        events = _distinct(ORACLE.Generator(len(took), CHUNK).run(), len(took))
        took.append(resolve(conn, [stated for each in events if (stated := _stated(each))]))
        stored = _count(conn, "SELECT count(*) FROM {schema}.identity_node")
    graph = [chunk.graph / CHUNK * 1e6 for chunk in took]
    whole = statistics.median(chunk.whole for chunk in took) / CHUNK * 1e6
    third = max(1, len(graph) // 3)
    first, last = statistics.median(graph[:third]), statistics.median(graph[-third:])
    return {
        f"resolve to {stored:,} identifiers, the graph": (
            f"{statistics.median(graph):.1f} us an event, median"
        ),
        "… slope, last third over first": f"{(last / first - 1) * 100:+.0f} %",
        "… with traits and profiles": f"{whole:.1f} us an event, median",
        **_sizes(conn, stored),
        **_limit(conn),
    }


def _sizes(conn: Conn, stored: int) -> dict[str, str]:
    links = _count(conn, "SELECT count(*) FROM {schema}.identity_edge")
    nodes = _bytes(conn, "identity_node", "identity_component", "identity_alias")
    every = _bytes(conn, *(row[0] for row in conn.execute(TABLES, [SCHEMA]).fetchall()))
    return {
        "nodes and groups": f"{nodes / stored:.0f} bytes an identifier",
        "links": f"{_bytes(conn, 'identity_edge') / links:.0f} bytes a link",
        "all identity tables": f"{every / stored:.0f} bytes an identifier",
    }


def _limit(conn: Conn) -> dict[str, str]:
    """What the components alone take, of the same links, all at once and in memory."""
    rows = conn.execute(query(SCHEMA, "SELECT node_a, node_b FROM {schema}.identity_edge"))
    ends = np.array(rows.fetchall())
    size = int(ends.max()) + 1
    started = time.perf_counter()
    links = coo_array((np.ones(len(ends), dtype=np.int8), ends.T), shape=(size, size))
    connected_components(links, directed=False)
    took = (time.perf_counter() - started) / len(ends) * 1e6
    return {"… the limit: scipy's connected_components in memory": f"{took:.2f} us a link"}


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"


def _distinct(events: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Streams of several seeds are about several people."""
    for each in events:
        each["messageId"] = f"{number}-{each['messageId']}"
        for key in ("userId", "previousId"):
            if key in each:
                each[key] = _of_stream(each[key], number)
        properties = each.get("mergeProperties")
        for each_property in properties if isinstance(properties, list) else ():
            if isinstance(each_property, dict) and "value" in each_property:
                each_property["value"] = _of_stream(each_property["value"], number)
    return events


def _of_stream(value: Any, number: int) -> Any:
    if isinstance(value, str) and value.strip():
        return f"{number}-{value}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + number * 1_000_000
    return value


def _stated(event: dict[str, Any]) -> Statement | None:
    try:
        return statement(event, "bench")
    except ValueError:
        return None


def star() -> Iterator[tuple[str, str]]:
    return (("hub", f"u{n}") for n in range(WORST))


def chain() -> Iterator[tuple[str, str]]:
    links = [(f"u{n}", f"u{n + 1}") for n in range(WORST)]
    random.Random(1).shuffle(links)
    return iter(links)


def threshold() -> Iterator[tuple[str, str]]:
    """A random graph in which a giant component has just grown."""
    chance, nodes = random.Random(2), int(WORST / 0.6)
    return ((f"u{chance.randrange(nodes)}", f"u{chance.randrange(nodes)}") for _ in range(WORST))


def worst(conn: Conn, name: str, links: Iterator[tuple[str, str]]) -> dict[str, str]:
    fresh(conn, hub_limit=None, size_limit=None)
    statements = list(_aliases(links))
    chunks = [statements[start : start + CHUNK] for start in range(0, len(statements), CHUNK)]
    took = [resolve(conn, chunk) for chunk in chunks]
    costs = sorted(each.graph / len(chunk) * 1e6 for each, chunk in zip(took, chunks, strict=True))
    return {
        f"{name} of {WORST:,} links, the graph": (
            f"{statistics.median(costs):.0f} us a link, p95 {costs[int(len(costs) * 0.95)]:.0f}"
        ),
        f"… {name}: slowest chunk, with profiles": f"{max(each.whole for each in took):.2f} s",
    }


def _aliases(links: Iterator[tuple[str, str]]) -> Iterator[Statement]:
    for number, (a, b) in enumerate(links):
        at = START + timedelta(milliseconds=number)
        ends = tuple(dict.fromkeys((Identifier(USER_ID, a), Identifier(USER_ID, b))))
        yield Statement(ends, ends[0], {}, at, at, f"m{number}", "bench")


def giants(conn: Conn) -> dict[str, str]:
    fresh(conn, hub_limit=None, size_limit=None)
    for side in ("a", "b"):
        statements = list(_aliases((f"{side}0", f"{side}{n}") for n in range(1, GIANT)))
        for start in range(0, len(statements), CHUNK):
            resolve(conn, statements[start : start + CHUNK])
    took = resolve(conn, list(_aliases(iter([("a0", "b0")])))).whole
    started = time.perf_counter()
    profile_rows.refresh_marked(conn, SCHEMA)
    later = time.perf_counter() - started
    return {
        f"two profiles of {GIANT:,} meet": f"{took * 1000:.0f} ms, and {later:.1f} s later the row"
    }


def view(conn: Conn) -> dict[str, str]:
    """Events of the realistic graph's people by profile, through the view and raw."""
    conn.execute(SQL("DROP SCHEMA IF EXISTS bench_events CASCADE; CREATE SCHEMA bench_events"))
    conn.execute(
        SQL("CREATE TABLE bench_events.tracks (id text, user_id text, rudder_profile_id uuid)")
    )
    conn.execute(
        query(
            SCHEMA,
            """
            INSERT INTO bench_events.tracks
            SELECT g::text, 'u', keys[1 + (random() * (cardinality(keys) - 1))::int]
            FROM (
                SELECT array_agg(rudder_id) AS keys
                FROM (
                    SELECT rudder_id FROM {schema}.rudder_profiles
                    UNION ALL
                    SELECT old_rudder_id FROM {schema}.identity_alias
                ) every
            ) k, generate_series(1, %s) g
            """,
        ),
        [VIEW_ROWS],
    )
    create_resolved_view(conn, SCHEMA, EVENTS, "tracks", ["id", "user_id", "rudder_profile_id"])
    conn.execute("VACUUM ANALYZE bench_events.tracks")
    conn.execute("ANALYZE")
    raw = _seconds(conn, "SELECT rudder_profile_id, count(*) FROM bench_events.tracks GROUP BY 1")
    resolved = _seconds(
        conn, "SELECT rudder_id, count(*) FROM bench_events.tracks_resolved GROUP BY 1"
    )
    return {
        f"tracks_resolved of {VIEW_ROWS:,} rows": f"{resolved:.2f} s, {resolved / raw:.1f} times "
        f"the raw table's {raw:.2f} s"
    }


def lookups(conn: Conn) -> dict[str, str]:
    rows = conn.execute(
        query(SCHEMA, "SELECT id_value FROM {schema}.identity_node ORDER BY random() LIMIT 500")
    ).fetchall()
    took = []
    for (value,) in rows:
        started = time.perf_counter()
        reads_profiles.find_profiles(conn, SCHEMA, value)
        took.append((time.perf_counter() - started) * 1000)
    took.sort()
    return {"rudder_profile() of any identifier": f"{took[250]:.2f} ms, p95 {took[475]:.2f} ms"}


def operators(conn: Conn) -> dict[str, str]:
    """Un-merge and erase of persons with 1,000 identifiers and as many events."""
    fresh(conn, hub_limit=None)
    conn.execute(SQL("DROP SCHEMA IF EXISTS bench_events CASCADE; CREATE SCHEMA bench_events"))
    conn.execute(
        SQL(
            "CREATE TABLE bench_events.tracks (id text PRIMARY KEY, user_id text,"
            " anonymous_id text, rudder_profile_id uuid);"
            "CREATE INDEX ON bench_events.tracks (rudder_profile_id)"
        )
    )
    cuts, erasures = [], []
    for number in range(10):
        _person(conn, number)
        middle = (Identifier(USER_ID, f"p{number}"), Identifier(USER_ID, f"q{number}"))
        started = time.perf_counter()
        with begin_operation(conn, SCHEMA, [EVENTS], actor="bench") as op:
            unmerge.unmerge_links(op, [middle])
        cuts.append((time.perf_counter() - started) * 1000)
        with begin_operation(conn, SCHEMA, [EVENTS], actor="bench") as op:
            unmerge.restore_links(op, [middle])
        everyone = erase.profile_identifiers(conn, SCHEMA, f"p{number}")
        started = time.perf_counter()
        with begin_operation(conn, SCHEMA, [EVENTS], actor="bench") as op:
            erase.erase_identifiers(op, everyone)
        erasures.append((time.perf_counter() - started) * 1000)
    return {
        f"un-merge of {PERSON:,} identifiers": f"{statistics.median(cuts):.0f} ms with its rows",
        f"erase of {PERSON:,} identifiers": f"{statistics.median(erasures):.0f} ms",
    }


def _person(conn: Conn, number: int) -> None:
    half = PERSON // 2 - 1
    at = START + timedelta(seconds=number)
    users = (Identifier(USER_ID, f"p{number}"), Identifier(USER_ID, f"q{number}"))
    statements = [Statement(users, users[0], {}, at, at, f"x{number}", "bench")]
    for user in users:
        for device in range(half):
            ends = (user, Identifier(ANONYMOUS_ID, f"{user.value}-d{device}"))
            message = f"{user.value}-{device}"
            statements.append(Statement(ends, user, {}, at, at, message, "bench"))
    with graph_schema.operator_lock_shared(conn, SCHEMA):
        stamps = identity_resolve.resolve_statements(conn, SCHEMA, statements)
    with conn.cursor().copy("COPY bench_events.tracks FROM STDIN") as copy:
        for stated in statements:
            device = stated.identifiers[1].value
            copy.write_row((stated.message_id, stated.primary[1], device, stamps[stated.primary]))


def _seconds(conn: Conn, text: str) -> float:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        conn.execute(f"SELECT count(*) FROM ({text}) x").fetchall()  # noqa: S608 - our own text
        took.append(time.perf_counter() - started)
    return min(took)


def _count(conn: Conn, text: str) -> int:
    return int(conn.execute(query(SCHEMA, text)).fetchall()[0][0])


def _bytes(conn: Conn, *tables: str) -> int:
    total = """
        SELECT sum(pg_total_relation_size(format('%%I.%%I', %s::text, t)))
        FROM unnest(%s::text[]) t
    """
    return int(conn.execute(total, [SCHEMA, list(tables)]).fetchall()[0][0])
