"""How long the admin's pages take with a long log: python -m tests.bench.admin [events].

Fills a database of its own on the server of RUDDERHUB_DATABASE_URL and prints the server's time
of each page: the median and the slowest of ten.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier

EVENTS = 5_000_000
NAME = "rudderhub_bench_admin"
MOST_SECONDS = 0.3
FILL = """
INSERT INTO events_event
    (received_at, source_id, message_id, type, event, user_id, anonymous_id, payload)
SELECT now() - (%(events)s - n) * interval '50 milliseconds', 1 + n %% 5, 'm' || n,
    (ARRAY['track', 'page', 'identify'])[1 + n %% 3], 'Event ' || n %% 20, 'u' || n %% 100000,
    'a' || n %% 300000, '{"type": "track", "properties": {"text": "' || repeat('x', 300) || '"},'
        || '"context": {"library": {"name": "analytics-js", "version": "3.' || n %% 30 || '"}}}'
FROM generate_series(1, %(events)s) AS n
"""
PAGES = {
    "overview": "/admin/",
    "overview 30 days": "/admin/?range=30d",
    "overview of a source": "/admin/?range=24h&source=1",
    "live": "/admin/events/event/",
    "live, a source": "/admin/events/event/?source=2",
    "live, a page back": "/admin/events/event/?before=2500000",
    "live, message id": "/admin/events/event/?q=m1234567",
    "live, user id": "/admin/events/event/?q=u77",
    "live, nothing found": "/admin/events/event/?q=nobody",
    "live, pending": "/admin/events/event/?status=pending",
    "sources": "/admin/sources/source/",
    "connections": "/admin/destinations/connection/",
    "destinations": "/admin/destinations/destination/",
    "loads": "/admin/events/load/",
    "dead letters": "/admin/events/deadletter/",
    "quarantine": "/admin/events/quarantined/",
    "system": "/admin/system/",
}


def main():
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    server = os.environ["RUDDERHUB_DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(NAME)))
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier(NAME)))
    url = urlunsplit(urlsplit(server)._replace(path=f"/{NAME}"))
    os.environ |= {"RUDDERHUB_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "rudderhub.settings"}
    try:
        slowest = _measure(events)
    finally:
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(NAME)))
    sys.exit(slowest > MOST_SECONDS)


def _measure(events):
    import django  # noqa: PLC0415 - the database has to be named first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    _fill(events)
    client = Client(SERVER_NAME="localhost")
    client.force_login(_admin())
    return max(_time(client, name, path) for name, path in PAGES.items())


def _fill(events):
    from django.utils import timezone  # noqa: PLC0415

    from events import counting, log  # noqa: PLC0415
    from tests.factories import make_connection, make_source  # noqa: PLC0415

    connections = [make_connection(make_source()) for _ in range(5)]
    days = events // (20 * 86_400) + 2
    with log.connect() as conn:
        first = timezone.now().date() - timedelta(days=days)
        log.ensure_partitions(conn, first, days + 2)
        conn.execute(FILL, {"events": events})
        conn.execute("VACUUM ANALYZE events_event")
        begun = time.monotonic()
        counting.advance(conn)
        print(f"counting {events:,} events took {time.monotonic() - begun:.1f} s")  # noqa: T201
    for connection in connections:
        connection.position = events - 1_000
        connection.save()


def _admin():
    from tests.factories import make_admin  # noqa: PLC0415

    return make_admin()


def _time(client, name, path):
    taken = []
    for _ in range(10):
        begun = time.monotonic()
        status = client.get(path).status_code
        taken.append(time.monotonic() - begun)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}")
    print(  # noqa: T201
        f"{name:<24} median {statistics.median(taken) * 1000:6.0f} ms"
        f"   slowest {max(taken) * 1000:6.0f} ms"
    )
    return statistics.median(taken)


if __name__ == "__main__":
    main()
