"""What the admin shows in the bench: a log of millions of events and all that comes of it.

The rows are made by SQL, in the form that the gateway and the loads give them.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta

import psycopg
from django.db import connection
from django.utils import timezone
from psycopg.sql import SQL, Identifier

from destinations.models import Connection
from destinations.postgres.identity import graph_schema, resolve
from destinations.postgres.identity.query import query
from destinations.postgres.load import table_sql
from destinations.warehouse.identity.statements import statement
from destinations.warehouse.rows.schema import DISCARD_COLUMNS, DISCARDS
from events.log import counts, partitions
from events.log.database import log_connection
from tests.bench import api
from tests.support.factories import make_admin, make_connection, make_destination, make_source
from tests.support.warehouse import address

DAYS = 30
SOURCES = 20
TABLES = 20
"""Of each source but the first, which has millions of rows."""
SIZE = 5_000
"""Identifiers of the largest person."""

LOG = """
INSERT INTO events_event
    (received_at, source_id, message_id, type, event, user_id, anonymous_id, payload)
SELECT now() - (%(events)s - n) * (%(days)s * interval '1 day' / %(events)s),
    (SELECT min(id) FROM sources_source) + (n::bigint * 7919 %% %(sources)s),
    (ARRAY['track-', 'page-', 'i-'])[1 + n %% 3] || n,
    (ARRAY['track', 'page', 'identify'])[1 + n %% 3],
    CASE WHEN n %% 3 = 0 THEN 'Event ' || n %% 40 ELSE '' END,
    'user-' || n::bigint * 7919 %% %(people)s, 'phone-' || n::bigint * 7919 %% %(people)s,
    '{"type": "track", "properties": {"text": "' || repeat('x', 300) || '"},'
        || '"context": {"library": {"name": "analytics-js", "version": "3.' || n %% 30 || '"}}}'
FROM generate_series(1, %(events)s) AS n
"""
HISTORY = """
INSERT INTO events_load (connection_id, started_at, finished_at, state, after_id, upto_id, events,
    skipped, dead_letters, discards, rows, skip_reasons, warnings, repeated, discarded, added,
    error)
SELECT c.id, made.at, made.at + interval '1 s', CASE WHEN n %% 50 = 0 THEN 'failed'
        ELSE 'succeeded' END, (n - 1) * 500, n * 500, 25, 0, 0, n %% 3,
    '{"tracks": 20, "event_1": 20, "identifies": 5}', '{}', '[]', '{}', '{}', '{}',
    CASE WHEN n %% 50 = 0 THEN 'connection refused' ELSE '' END
FROM generate_series(1, %(events)s / 500) n
CROSS JOIN destinations_connection c
CROSS JOIN LATERAL (
    SELECT now() - (%(events)s / 500 - n) * (14 * interval '1 day' / (%(events)s / 500)) AS at
) made
ORDER BY n;

INSERT INTO events_standing
    (connection_id, at, is_start, position, loaded, skipped, dead_letters, accepted)
SELECT c.id, date_trunc('minute', now()) - m * interval '1 minute', false,
    greatest(0, %(events)s - 1000 - m * 100), greatest(0, %(events)s - 1000 - m * 100) / 20, 0, 0,
    CASE WHEN m > 60 THEN greatest(0, %(events)s - 1000 - m * 100) / 20 END
FROM generate_series(0, %(days)s * 1440 - 1) m CROSS JOIN destinations_connection c
ORDER BY m DESC;

INSERT INTO events_standing
    (connection_id, at, is_start, position, loaded, skipped, dead_letters, accepted)
SELECT id, now() - interval '31 days', true, 0, 0, 0, 0, 0 FROM destinations_connection;

INSERT INTO events_deadletter (connection_id, event_id, message_id, reason, payload, created_at,
    kind, attempts, tried_at, state, closed_at, closed_by, note)
SELECT c.id, e.id, e.message_id, 'context is no object: ' || n, e.payload, e.received_at,
    'context is no object ' || n %% 7, 1 + n %% 3, now(),
    CASE WHEN n %% 10 = 0 THEN 'discarded' WHEN n %% 10 = 1 THEN 'loaded' ELSE 'open' END,
    CASE WHEN n %% 10 < 2 THEN now() END, '', ''
FROM generate_series(1, 5000) n
JOIN events_event e ON e.id = %(events)s - 2000 - n * 50
JOIN destinations_connection c ON c.source_id = e.source_id
ORDER BY n DESC;

INSERT INTO events_quarantined (source_id, received_at, route, status, reason, body, body_bytes,
    circumstances, accepted_at, discarded_at, discarded_by, note)
SELECT s.id, now() - (10000 - n) * interval '4 minutes', '/v1/track', 400,
    'type is nonsense-' || n %% 30 || ', expected one of track, page',
    convert_to('{"type": "nonsense", "userId": "user-' || n || '", "properties": {"text": "'
        || repeat('y', 2000) || '"}}', 'UTF8'), 2060, '{}',
    CASE WHEN n %% 20 = 0 THEN now() END, CASE WHEN n %% 20 = 1 THEN now() END, '', ''
FROM generate_series(1, 10000) n
JOIN sources_source s ON s.id = (SELECT min(id) FROM sources_source) + n %% %(sources)s
ORDER BY n;

INSERT INTO events_loss (connection_id, day, events, first_id, last_id, reason, created_at)
SELECT c.id, current_date - 40 - d, 100, 1, 0, 'it was never loaded', now()
FROM destinations_connection c CROSS JOIN generate_series(1, 10) d;

INSERT INTO events_replay (connection_id, cursor_id, after_id, upto_id, position, expected, events,
    skipped, dead_letters, discards, skip_reasons, warnings, only_dead_letters, state, error,
    failures, started_at, finished_at)
SELECT c.id, -n, 0, 1000, 1000, 1000, 1000, 0, 0, 0, '{}', '[]', n %% 2 = 0, 'succeeded', '', 0,
    now() - n * interval '1 hour', now() - n * interval '1 hour'
FROM generate_series(1, 500) n
JOIN destinations_connection c
    ON c.id = (SELECT min(id) FROM destinations_connection) + n %% %(sources)s;

INSERT INTO destinations_erasure (destination_id, created_at, finished_at, actor, reason, mode,
    keys, counts, state, step, held, error, failures)
SELECT d.id, now() - n * interval '1 hour', now(), 'ada', 'asked by letter', 'delete',
    jsonb_build_array(gen_random_uuid()), '{"shop.tracks": 12, "shop.identifies": 1}',
    'done', 'messages', '', '', 0
FROM destinations_destination d CROSS JOIN generate_series(1, 2000) n;

INSERT INTO destinations_identitycheck (destination_id, created_at, differences)
SELECT d.id, now() - n * interval '1 day', '[]'
FROM destinations_destination d CROSS JOIN generate_series(1, 30) n;

INSERT INTO destinations_profiletoken (destination_id, name, digest, created_at)
SELECT d.id, 'shop ' || n, md5(n::text), now()
FROM destinations_destination d CROSS JOIN generate_series(1, 20) n;

INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff,
    is_active, date_joined)
SELECT '', false, 'user ' || n, '', '', '', true, true, now() FROM generate_series(1, 200) n;

INSERT INTO django_admin_log (action_time, user_id, content_type_id, object_id, object_repr,
    action_flag, change_message)
SELECT now() - n * interval '1 minute', (SELECT max(id) - n %% 200 FROM auth_user),
    (SELECT id FROM django_content_type WHERE model = 'source'), n, 'Shop ' || n, 2,
    'Viewed personal data.'
FROM generate_series(1, 100000) n;
"""
NAMESPACES = """
DO $$
DECLARE
    source int;
    kind int;
BEGIN
    FOR source IN 2..{sources} LOOP
        EXECUTE format('CREATE SCHEMA shop_%s', source);
        FOR kind IN 1..{tables} LOOP
            EXECUTE format(
                'CREATE TABLE shop_%s.event_%s AS SELECT * FROM {template} LIMIT 1000',
                source, kind
            );
        END LOOP;
    END LOOP;
END $$
"""
AFTER_PEOPLE = "SELECT setval('{schema}.identity_node_number', %s)"
FILL_DISCARDS = """
INSERT INTO {} (table_name, column_name, column_value, reason, row_id, received_at, uuid_ts)
SELECT 'tracks', 'property_' || n %% 30, 'value ' || n, 'no number ' || n %% 3, 'track-' || n,
    now() - n * interval '1 minute', now()
FROM generate_series(1, 50000) n
"""


def fill(events: int) -> None:
    """The instance's database and its warehouse; the first migration has made the tables."""
    destination = _destination()
    sources = [make_source(name=f"Shop {number}") for number in range(1, SOURCES + 1)]
    for number, source in enumerate(sources, 1):
        namespace = api.EVENTS if number == 1 else f"shop_{number}"
        make_connection(source, destination, namespace=namespace, start_position=0)
    given = {"events": events, "days": DAYS, "sources": SOURCES, "people": api.PEOPLE}
    with log_connection() as conn:
        now = timezone.now()
        partitions.ensure_partitions(conn, now.date() - timedelta(days=DAYS), DAYS + 2)
        conn.execute(LOG, given)
        conn.execute("VACUUM ANALYZE events_event")
        counts.advance_counts(conn)
        counts.fold_old_minutes(conn, now)
    make_admin()
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, given)
    Connection.objects.update(position=events - 1_000, last_loaded_at=timezone.now())
    with closing(psycopg.connect(_warehouse_url(), autocommit=True)) as conn:
        _fill_warehouse(conn)
    with log_connection() as conn:
        conn.execute("VACUUM ANALYZE")


def _destination():
    config, secrets = address(_warehouse_url())
    return make_destination(
        config | {"identity_schema": api.SCHEMA}, secrets, name="Warehouse", public_id="bench"
    )


def _warehouse_url():
    return os.environ["RUDDERHUB_WAREHOUSE_URL"]


def _fill_warehouse(conn: api.Conn) -> None:
    api.make(conn)
    conn.execute(query(api.SCHEMA, AFTER_PEOPLE), [3 * api.PEOPLE])
    for stated in (_devices(), _merges(), _kiosk()):
        with graph_schema.operator_lock_shared(conn, api.SCHEMA):
            resolve.resolve_statements(
                conn, api.SCHEMA, [statement(each, "bench") for each in stated]
            )
    template = Identifier(api.EVENTS, "identifies").as_string()
    conn.execute(NAMESPACES.format(sources=SOURCES, tables=TABLES, template=template))
    for table in table_sql.create_table(api.EVENTS, DISCARDS, DISCARD_COLUMNS):
        conn.execute(table)
    conn.execute(SQL(FILL_DISCARDS).format(Identifier(api.EVENTS, DISCARDS)), [])
    conn.execute("VACUUM ANALYZE")


def _devices():
    """One user id and its devices."""
    return [_seen(f"large-{n}", "user-large", f"device-{n}") for n in range(SIZE - 1)]


def _merges():
    return [_seen(f"merge-{n}", f"user-{n + 1}", f"phone-{n}") for n in range(0, 6_000, 3)]


def _kiosk():
    """A device that too many use."""
    return [_seen(f"kiosk-{n}", f"user-{n}", "kiosk") for n in range(10_000, 10_500)]


def _seen(message_id, user_id, anonymous_id):
    return {
        "type": "identify",
        "messageId": message_id,
        "userId": user_id,
        "anonymousId": anonymous_id,
        "receivedAt": "2026-03-01T12:00:00.000Z",
    }
