"""What loading costs by itself, without the gateway and the worker, in schemas of its own.

`python -m tests.bench.warehouse URL` runs it in any database.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from destinations.interface import Chunk, Feed, LoggedEvent
from destinations.postgres.destination import PostgresDestination
from destinations.postgres.load.session import PostgresSession
from destinations.warehouse.rows.transform import Metadata, Options, transform

MIX_EVENTS = 10_000
REPEATS = 5
MERGES = 10
UPSTREAM_EVENTS_A_SECOND = 3_700
TABLE_ROWS = (100_000, 1_000_000, 5_000_000)
CHUNK_TRACKS = 9_000
CHUNK_IDENTIFIES = 1_000
SCHEMAS = ("mix", "merge", "bench_raw", "bench_identity")
START = datetime(2026, 3, 1, tzinfo=UTC)


def figures(url: str) -> dict[str, str]:
    events = mix()
    with _schemas_of_its_own(url):
        return transform_rate(events) | load_rate(events, url) | merge_costs(url)


def mix() -> list[dict[str, Any]]:
    """The events of the benchmark, as they are stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.jsonl"
        script = Path(__file__).parent.parent / "cases" / "gen_mix_10k.py"
        subprocess.run([sys.executable, script, path, str(MIX_EVENTS)], check=True)  # noqa: S603
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def transform_rate(events: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Events a second of the transform alone, in one thread: the median of some runs."""
    metadata = Metadata(source_id="bench", destination_id="bench")
    options = Options()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for event in events:
            transform(event, metadata, options, new_id=str)
        seconds.append(time.perf_counter() - started)
    rate = len(events) / statistics.median(seconds)
    return {
        "transform of the mix": f"{rate:,.0f} events/s a core",
        "… to upstream's": f"{rate / UPSTREAM_EVENTS_A_SECOND:.1f} times",
    }


def load_rate(events: Sequence[dict[str, Any]], url: str) -> dict[str, str]:
    """Rows a second of whole chunks, read and transformed too, beside a COPY of the same rows."""
    whole, writing, used, rows = [], [], [], 0
    with _session(url, "mix") as session, psycopg.connect(url, autocommit=True) as conn:
        session.load(session.prepare(_again(session, events)))  # makes the tables
        for _ in range(REPEATS):
            chunk = _again(session, events)
            started, cpu = time.perf_counter(), time.process_time()
            prepared = session.prepare(chunk)
            ready = time.perf_counter()
            rows = sum(session.load(prepared).rows.values())
            whole.append(time.perf_counter() - started)
            writing.append(time.perf_counter() - ready)
            used.append(time.process_time() - cpu)
        copied = _copy_rate(conn, "mix")
    rate, written = rows / statistics.median(whole), rows / statistics.median(writing)
    return {
        "load of the mix, one chunk in one thread": f"{rate:,.0f} rows/s",
        "… of it the writing": f"{written:,.0f} rows/s",
        "… CPU of Python": f"{statistics.median(used) / len(events) * 1e6:.0f} µs an event",
        "… raw COPY of such rows": f"{copied:,.0f} rows/s",
        "… time ratio to raw COPY, whole and writing": (
            f"{copied / rate:.1f} and {copied / written:.1f}"
        ),
    }


def merge_costs(url: str) -> dict[str, str]:
    """Seconds of a chunk's merge into ever larger tables, the fastest of some; how flat it is."""
    fastest: list[float] = []
    lines: dict[str, str] = {}
    with _session(url, "merge") as session, psycopg.connect(url, autocommit=True) as conn:
        session.load(session.prepare(_chunk(session, 0)))
        known = 1
        for size in TABLE_ROWS:
            _fill(conn, known, size)
            known = size
            seconds = [_merge_seconds(session, size) for _ in range(MERGES)]
            fastest.append(min(seconds))
            lines[f"merge of {CHUNK_TRACKS + CHUNK_IDENTIFIES:,} events into {size:,} rows"] = (
                f"{fastest[-1]:.2f} s"
            )
    return {**lines, "… largest to smallest": f"{fastest[-1] / fastest[0]:.2f} times"}


def _merge_seconds(session: PostgresSession, users: int) -> float:
    prepared = session.prepare(_chunk(session, users))
    started = time.perf_counter()
    session.load(prepared)
    return time.perf_counter() - started


def _chunk(session: PostgresSession, users: int) -> Chunk:
    """New tracks and identifies, half of these of users that are there, spread over them all."""
    tracks = [
        {
            "type": "track",
            "messageId": str(uuid.uuid4()),
            "event": "Order Done",
            "userId": f"user-{number}",
            "properties": {"total": 9.5, "currency": "EUR", "items": ["a", "b"]},
        }
        for number in range(CHUNK_TRACKS)
    ]
    step = max(1, users * 2 // CHUNK_IDENTIFIES)
    identifies = [
        {
            "type": "identify",
            "messageId": str(uuid.uuid4()),
            "userId": f"user-{number * step}",
            "traits": {"plan": "pro", "visits": number},
        }
        for number in range(CHUNK_IDENTIFIES)
    ]
    at = START + timedelta(seconds=session.position() or 0)  # later than the chunk before
    times = dict.fromkeys(("receivedAt", "timestamp"), at.isoformat())
    return _chunk_of(session, [event | times for event in tracks + identifies])


def _chunk_of(session: PostgresSession, events: Sequence[dict[str, Any]]) -> Chunk:
    after = session.position() or 0
    logged = [
        LoggedEvent(after + number, event["messageId"], json.dumps(event))
        for number, event in enumerate(events, start=1)
    ]
    return Chunk(after, after + len(logged), logged)


def _again(session: PostgresSession, events: Sequence[dict[str, Any]]) -> Chunk:
    """The events as new ones."""
    return _chunk_of(session, [event | {"messageId": str(uuid.uuid4())} for event in events])


def _fill(conn: psycopg.Connection[Any], known: int, size: int) -> None:
    """Rows with random ids, as events have them, and users in order."""
    conn.execute(
        """
        INSERT INTO merge.order_done (id, received_at, user_id, event, uuid_ts, rudder_profile_id)
        SELECT gen_random_uuid()::text, '2026-02-01', 'user-' || number, 'order_done', now(),
            gen_random_uuid()
        FROM generate_series(%s, %s) AS number
        """,
        [known + 1, size],
    )
    conn.execute(
        """
        INSERT INTO merge.users (id, received_at, plan, uuid_ts)
        SELECT 'user-' || number, '2026-02-01', 'free', now()
        FROM generate_series(%s, %s) AS number
        ON CONFLICT (id) DO NOTHING
        """,
        [known + 1, size],
    )
    conn.execute("VACUUM ANALYZE merge.order_done")
    conn.execute("VACUUM ANALYZE merge.users")


def _copy_rate(conn: psycopg.Connection[Any], schema: str) -> float:
    """Rows a second of a COPY into equal, empty tables with equal indexes, one transaction."""
    conn.execute("CREATE SCHEMA bench_raw")
    tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
    rows, data = 0, {}
    for (table,) in tables.fetchall():
        source, target = Identifier(schema, table), Identifier("bench_raw", table)
        conn.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING INDEXES)").format(target, source))
        with conn.cursor() as cursor:
            with cursor.copy(SQL("COPY {} TO STDOUT").format(source)) as copy:
                data[table] = [bytes(block) for block in copy]
            rows += cursor.rowcount
    started = time.perf_counter()
    with conn.transaction():
        for table, blocks in data.items():
            target = Identifier("bench_raw", table)
            with conn.cursor().copy(SQL("COPY {} FROM STDIN").format(target)) as copy:
                for block in blocks:
                    copy.write(block)
    return rows / (time.perf_counter() - started)


@contextmanager
def _session(url: str, namespace: str) -> Iterator[PostgresSession]:
    parts = conninfo_to_dict(url)
    config = {
        "host": parts["host"],
        "port": int(str(parts.get("port") or 5432)),
        "database": parts["dbname"],
        "user": parts["user"],
        "resolve_identities": False,
        "identity_schema": "bench_identity",
    }
    feed = Feed(1 if namespace == "mix" else 2, namespace, "bench", "HTTP", "", "bench", "POSTGRES")
    secrets = {"password": parts.get("password") or ""}
    session = PostgresDestination().open(config, secrets, feed)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def _schemas_of_its_own(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as conn:
        try:
            yield
        finally:
            for schema in SCHEMAS:
                conn.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))


if __name__ == "__main__":
    for figure, value in figures(sys.argv[1]).items():
        sys.stdout.write(f"{figure:<50}  {value}\n")
