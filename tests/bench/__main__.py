"""make bench: what the gateway and the loads cost on this machine, as figures of one run."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from rudderhub.supervisor.server import free_port
from tests.bench import admin, api, identity, processes, warehouse
from tests.bench.client import request_bytes, send_all
from tests.support.supervised_instance import Instance, running

SINGLE_REQUESTS = 20_000
CONNECTIONS = 64
BATCHES = 300
MIX_EVENTS = 10_000
FRESH_EVENTS = 1_000
FRESH_RATE = 50
FROM_THE_GATEWAY = ("receivedAt", "request_ip", "rudderId", "timestamp")


def main() -> None:
    if sys.argv[1:2] == ["admin"]:
        admin.main(*map(int, sys.argv[2:3]))
    figures: dict[str, str] = {}
    with running() as instance:
        if sys.argv[1:2] == ["identity"]:
            identifiers = int(sys.argv[2]) if sys.argv[2:] else identity.REALISTIC
            _print(identity.figures(instance.info["warehouse_dsn"], identifiers))
            return
        figures |= idle(instance)
        instance.switch(enabled=False)
        figures |= single_tracks(instance)
        figures |= batches(instance)
        instance.switch(enabled=True)
        instance.wait_until_loaded()
        figures |= end_to_end(instance)
        figures |= load_against_copy(instance)
        figures |= freshness(instance)
        figures |= warehouse.figures(instance.info["warehouse_dsn"])
        figures |= api.figures(instance.info["warehouse_dsn"])
    _print(figures)


def _print(figures: dict[str, str]) -> None:
    width = max(map(len, figures))
    for name, value in figures.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")


def idle(instance: Instance) -> dict[str, str]:
    time.sleep(5)
    before = processes.cpu_seconds(instance.pid)
    time.sleep(10)
    used = sum(processes.cpu_seconds(instance.pid).values()) - sum(before.values())
    memory = processes.memory_mb(instance.pid)
    ours = sum(mb for part, mb in memory.items() if part not in {"postgres", "valkey"})
    parts = ", ".join(f"{part} {mb:.0f}" for part, mb in sorted(memory.items()))
    return {
        "idle memory of our processes": f"{ours:.0f} MB ({parts})",
        "idle CPU": f"{used / 10:.1%} of a core",
    }


def single_tracks(instance: Instance) -> dict[str, str]:
    """One durable track a request, beside a server that only answers OK."""
    requests = [_request(instance, "/v1/track", _track()) for _ in range(SINGLE_REQUESTS)]
    send_all(instance.info["base_url"], requests[:500], CONNECTIONS)
    before = processes.cpu_seconds(instance.pid)
    seconds = send_all(instance.info["base_url"], requests, CONNECTIONS)
    used = _server_cpu(instance, before) / SINGLE_REQUESTS * 1e6
    bare_rate, bare_cpu = _bare(requests)
    return {
        f"single durable track, {CONNECTIONS} connections": f"{SINGLE_REQUESTS / seconds:,.0f}/s",
        "… server CPU (web and Postgres)": f"{used:.0f} µs a request",
        "… bare WSGI answer": f"{bare_rate:,.0f}/s, {bare_cpu:.0f} µs",
        "… CPU ratio to bare": f"{used / bare_cpu:.1f}",
    }


def batches(instance: Instance) -> dict[str, str]:
    size = 100
    requests = [
        _request(instance, "/v1/batch", {"batch": [_track(type="track") for _ in range(size)]})
        for _ in range(BATCHES)
    ]
    before = processes.cpu_seconds(instance.pid)
    seconds = send_all(instance.info["base_url"], requests, 8)
    used = _server_cpu(instance, before) / (BATCHES * size) * 1e6
    return {
        "batches of 100": f"{BATCHES * size / seconds:,.0f} events/s",
        "… server CPU": f"{used:.1f} µs an event",
    }


def end_to_end(instance: Instance) -> dict[str, str]:
    requests = _mix_requests(instance)
    before = processes.cpu_seconds(instance.pid)
    started = time.perf_counter()
    send_all(instance.info["base_url"], requests, 8)
    accepted = time.perf_counter() - started
    instance.wait_until_loaded()
    seconds = time.perf_counter() - started
    after = processes.cpu_seconds(instance.pid)
    parts = ", ".join(
        f"{part} {(after[part] - before.get(part, 0)) / MIX_EVENTS * 1e6:.0f}"
        for part in sorted(after)
    )
    return {
        "mix of 10,000, accepted": f"{MIX_EVENTS / accepted:,.0f} events/s",
        "mix of 10,000, accepted → loaded": f"{MIX_EVENTS / seconds:,.0f} events/s",
        "… CPU µs an event": parts,
    }


def load_against_copy(instance: Instance) -> dict[str, str]:
    """The load of 10,000 waiting events beside a COPY of the rows that they give."""
    instance.switch(enabled=False)
    with _warehouse(instance) as conn:
        before = _row_counts(conn, instance.info["namespace"])
    send_all(instance.info["base_url"], _mix_requests(instance), 8)
    last = instance.one("SELECT coalesce(max(id), 0) FROM events_load")
    instance.switch(enabled=True)
    instance.wait_until_loaded()
    time.sleep(0.5)
    seconds = instance.one(
        "SELECT extract(epoch FROM sum(finished_at - started_at))::float8"  # noqa: S608
        f" FROM events_load WHERE id > {int(last)}"
    )
    with _warehouse(instance) as conn:
        after = _row_counts(conn, instance.info["namespace"])
        written = sum(after.values()) - sum(before.values())
        copy_rate = _raw_copy_rate(conn, instance.info["namespace"])
    return {
        "load of 10,000 waiting events": f"{MIX_EVENTS / seconds:,.0f} events/s",
        "… rows": f"{written / seconds:,.0f} rows/s ({written:,} rows)",
        "… raw COPY of such rows": f"{copy_rate:,.0f} rows/s",
        "… time ratio to raw COPY": f"{copy_rate * seconds / written:.1f}",
    }


def freshness(instance: Instance) -> dict[str, str]:
    """Seconds from the 200 until a row is visible, at 50 events/s."""
    instance.wait_until_loaded()
    accepted: dict[str, float] = {}
    seen: dict[str, float] = {}
    watcher = threading.Thread(target=_watch, args=[instance, seen])
    watcher.start()
    next_at = time.monotonic()
    for _ in range(FRESH_EVENTS):
        event = _track(event="Freshness Probe")
        _post(instance, event)
        accepted[event["messageId"]] = time.monotonic()
        next_at += 1 / FRESH_RATE
        time.sleep(max(0.0, next_at - time.monotonic()))
    watcher.join(60)
    waits = sorted(seen[name] - at for name, at in accepted.items())
    p95 = statistics.quantiles(waits, n=20)[-1]
    return {
        f"accepted → queryable at {FRESH_RATE} events/s": (
            f"p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s"
        )
    }


def _watch(instance: Instance, seen: dict[str, float]) -> None:
    table = Identifier(instance.info["namespace"], "freshness_probe")
    until = time.monotonic() + FRESH_EVENTS / FRESH_RATE + 30
    with _warehouse(instance) as conn:
        while len(seen) < FRESH_EVENTS and time.monotonic() < until:
            if conn.execute("SELECT to_regclass(%s)", [table.as_string(conn)]).fetchone()[0]:  # type: ignore[index]
                now = time.monotonic()
                for (name,) in conn.execute(SQL("SELECT id FROM {}").format(table)):
                    seen.setdefault(name, now)
            time.sleep(0.02)


def _raw_copy_rate(conn: psycopg.Connection[Any], namespace: str) -> float:
    """Rows a second of COPY into equal tables with equal keys and indexes, one transaction."""
    conn.execute("DROP SCHEMA IF EXISTS bench_raw CASCADE")
    conn.execute("CREATE SCHEMA bench_raw")
    rows, data = 0, {}
    for table, count in _row_counts(conn, namespace).items():
        source, target = Identifier(namespace, table), Identifier("bench_raw", table)
        conn.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING INDEXES)").format(target, source))
        with conn.cursor().copy(SQL("COPY {} TO STDOUT").format(source)) as copy:
            data[table] = [bytes(block) for block in copy]
        rows += count
    started = time.perf_counter()
    with conn.transaction():
        for table, blocks in data.items():
            target = Identifier("bench_raw", table)
            with conn.cursor().copy(SQL("COPY {} FROM STDIN").format(target)) as copy:
                for block in blocks:
                    copy.write(block)
    seconds = time.perf_counter() - started
    conn.execute("DROP SCHEMA bench_raw CASCADE")
    return rows / seconds


def _row_counts(conn: psycopg.Connection[Any], namespace: str) -> dict[str, int]:
    tables = conn.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", [namespace]
    ).fetchall()
    counts = {}
    for (table,) in tables:
        query = SQL("SELECT count(*) FROM {}").format(Identifier(namespace, table))
        counts[table] = conn.execute(query).fetchone()[0]  # type: ignore[index]
    return counts


def _bare(requests: list[bytes]) -> tuple[float, float]:
    """Requests a second and CPU µs a request of a server that does nothing."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port)]
    command += ["--blocking-threads", "16", "--log-level", "error", "tests.bench.bare:application"]
    server = subprocess.Popen(command)  # noqa: S603
    try:
        time.sleep(3)
        base_url = f"http://127.0.0.1:{port}"
        send_all(base_url, requests[:500], CONNECTIONS)
        before = sum(processes.cpu_seconds(server.pid).values())
        seconds = send_all(base_url, requests, CONNECTIONS)
        used = sum(processes.cpu_seconds(server.pid).values()) - before
    finally:
        server.terminate()
        server.wait(20)
    return len(requests) / seconds, used / len(requests) * 1e6


def _server_cpu(instance: Instance, before: dict[str, float]) -> float:
    after = processes.cpu_seconds(instance.pid)
    return sum(after[part] - before[part] for part in ("web", "postgres"))


def _mix_requests(instance: Instance) -> list[bytes]:
    """The benchmark's events as SDKs send them, 100 a batch, each with a message id of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.jsonl"
        script = Path(__file__).parent.parent / "cases" / "gen_mix_10k.py"
        subprocess.run([sys.executable, script, path, str(MIX_EVENTS)], check=True)  # noqa: S603
        events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for event in events:
        event["messageId"] = str(uuid.uuid4())
        for name in FROM_THE_GATEWAY:
            event.pop(name, None)
    return [
        _request(instance, "/v1/batch", {"batch": events[start : start + 100]})
        for start in range(0, len(events), 100)
    ]


def _track(**fields: Any) -> dict[str, Any]:
    """A track of about 1 KB."""
    event = {
        "messageId": str(uuid.uuid4()),
        "anonymousId": "bench-visitor",
        "event": "Product Viewed",
        "originalTimestamp": "2026-03-01T12:00:00.000Z",
        "context": {
            "library": {"name": "RudderLabs JavaScript SDK", "version": "3.7.1"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/122 Safari",
            "page": {"path": "/shop", "title": "Shop", "url": "https://shop.example/shop"},
            "locale": "en-US",
        },
        "properties": {f"property_{number}": "x" * 30 for number in range(10)},
    }
    return event | fields


def _headers(instance: Instance) -> dict[str, str]:
    key = base64.b64encode(f"{instance.info['write_key']}:".encode()).decode()
    return {"Authorization": f"Basic {key}", "Content-Type": "application/json"}


def _request(instance: Instance, path: str, body: Any) -> bytes:
    text = json.dumps(body, separators=(",", ":")).encode()
    return request_bytes(instance.info["base_url"], path, _headers(instance), text)


def _post(instance: Instance, event: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310
        f"{instance.info['base_url']}/v1/track",
        data=json.dumps(event).encode(),
        headers=_headers(instance),
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()


def _warehouse(instance: Instance) -> psycopg.Connection[Any]:
    return psycopg.connect(instance.info["warehouse_dsn"], autocommit=True)


if __name__ == "__main__":
    main()
