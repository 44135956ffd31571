"""The schema of an identity graph: creation, version, options, rules and locks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Literal

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.postgres.connection import Conn, table_exists
from destinations.postgres.identity.query import query
from destinations.warehouse.identity.block_list import DEFAULT_RULES, BlockList, BlockRule
from destinations.warehouse.identity.statements import GraphOptions, Rules

VERSION = 3
SQL_FILES = ("identity.sql", "explain.sql", "comments.sql")
LOCK_TIMEOUT_SECONDS = 10

GRAPH_LOCK, OPERATOR_LOCK, SCHEMA_LOCK = 728_301, 728_302, 728_303
"""Classes of advisory locks; the second number is the oid of identity_meta."""
PLANNER_OFF = ("jit", "enable_hashjoin", "enable_mergejoin", "enable_seqscan")

META = """
SELECT m.destination_id, m.version, current_setting('transaction_isolation'), m.options,
    m.salt, m.id_types,
    EXISTS (SELECT FROM {schema}.identity_suppressed)
    OR EXISTS (SELECT FROM {schema}.identity_blocked),
    EXISTS (SELECT FROM {schema}.identity_tombstone),
    m.tableoid::int
FROM {schema}.identity_meta m
"""

ADD_META = """
INSERT INTO {schema}.identity_meta (destination_id, salt, version, options)
VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

SET_VERSION = "UPDATE {schema}.identity_meta SET version = %s WHERE version < %s"

ADD_RULE = """
INSERT INTO {schema}.identity_rule_list (id, id_type, exact, pattern, action, actor)
VALUES (%s, %s, %s, %s, %s, 'default')
ON CONFLICT DO NOTHING
"""

RULES = """
SELECT id, exact, pattern, id_type, action
FROM {schema}.identity_rule_list
ORDER BY id
"""


@dataclass(frozen=True)
class Meta:
    """The row of identity_meta, and whether the graph has hidden identifiers and tombstones."""

    destination_id: str
    options: GraphOptions
    salt: bytes
    id_types: Sequence[str]
    has_hidden: bool
    has_tombstones: bool
    oid: int


def ensure_schema(
    conn: Conn, schema: str, destination_id: str, options: GraphOptions | None = None
) -> None:
    """Create or update the identity schema, and store the options if there are any.

    Raises DestinationError if the schema belongs to another destination.
    """
    if "%" in schema:  # psycopg would take it for a placeholder
        raise DestinationError(f"the schema name {schema!r} contains %, which is not supported")
    if not _is_current(conn, schema):
        with conn.transaction():
            _take_lock(conn, "SELECT pg_advisory_xact_lock({}, hashtext({}))", SCHEMA_LOCK, schema)
            _create_schema(conn, schema, destination_id)
    meta = read_meta(conn, schema)
    if meta.destination_id != destination_id:
        raise DestinationError(
            f"the schema {schema!r} holds the identities of destination {meta.destination_id!r}; "
            f"destination {destination_id!r} needs another schema"
        )
    if options is not None and options != meta.options:
        text = query(schema, "UPDATE {schema}.identity_meta SET options = %s")
        conn.execute(text, [json.dumps(asdict(options))])


def read_meta(conn: Conn, schema: str, *, any_isolation: bool = False) -> Meta:
    """The graph's row. Raises DestinationError unless a writer is in READ COMMITTED."""
    row = conn.execute(query(schema, META)).fetchone()
    if row is None:
        raise DestinationError(f"the table identity_meta of schema {schema!r} is empty")
    destination_id, version, isolation, options, *rest = row
    if version != VERSION:
        raise DestinationError(
            f"the schema {schema!r} is of version {version}, expected {VERSION}; run one version "
            "of rudderhub"
        )
    if isolation != "read committed" and not any_isolation:
        raise DestinationError(
            f"the warehouse connection's isolation is {isolation!r}, expected 'read committed'"
        )
    values = {**options, "trait_identifiers": tuple(options.get("trait_identifiers", ()))}
    return Meta(destination_id, GraphOptions(**values), *rest)


def read_rules(conn: Conn, schema: str, *, any_isolation: bool = False) -> Rules:
    """The block list and the trait identifiers, as statement() needs them."""
    listed = [BlockRule(*row) for row in conn.execute(query(schema, RULES))]
    try:
        blocks = BlockList(listed)
    except ValueError as error:
        raise DestinationError(f"the block list of schema {schema!r}: {error}") from error
    meta = read_meta(conn, schema, any_isolation=any_isolation)
    return Rules(blocks, meta.options.trait_identifiers)


def operator_lock_shared(conn: Conn, schema: str) -> AbstractContextManager[None]:
    """Hold the shared lock from before a chunk's T1 until after its T2."""
    return operator_lock(conn, schema, "_shared")


@contextmanager
def operator_lock(conn: Conn, schema: str, kind: str = "") -> Iterator[None]:
    """Hold the lock of an operator's action; no chunk is between its T1 and its T2."""
    oid = read_meta(conn, schema).oid
    with conn.transaction():  # lock_timeout ends with it, unlike the lock
        _take_lock(conn, f"SELECT pg_advisory_lock{kind}({{}}, {{}})", OPERATOR_LOCK, oid)
    try:
        yield
    finally:
        if not conn.closed:  # else the session's end released the lock
            unlock = SQL(f"SELECT pg_advisory_unlock{kind}({{}}, {{}})")
            conn.execute(unlock.format(Literal(OPERATOR_LOCK), Literal(oid)))


def lock_graph(
    conn: Conn, oid: int, *, any_plan: bool = False, seconds: float = LOCK_TIMEOUT_SECONDS
) -> None:
    """Lock the graph for one writer, and keep the planner to index probes unless any_plan."""
    probes = "".join(f"SET LOCAL {name} = off; " for name in PLANNER_OFF if not any_plan)
    _take_lock(conn, f"{probes}SELECT pg_advisory_xact_lock({{}}, {{}})", GRAPH_LOCK, oid, seconds)


def _take_lock(
    conn: Conn, lock: str, lock_class: int, key: int | str, seconds: float = LOCK_TIMEOUT_SECONDS
) -> None:
    """Take a lock inside a transaction; DestinationUnavailableError after LOCK_TIMEOUT_SECONDS."""
    text = f"SET LOCAL lock_timeout = '{seconds}s'; {lock}"
    try:
        conn.execute(SQL(text).format(Literal(lock_class), Literal(key)))
    except LockNotAvailable as error:
        raise DestinationUnavailableError(
            f"the identity graph was locked for more than {seconds} seconds"
        ) from error


def _is_current(conn: Conn, schema: str) -> bool:
    if not table_exists(conn, schema, "identity_meta"):
        return False
    stored = conn.execute(query(schema, "SELECT version FROM {schema}.identity_meta")).fetchone()
    return stored is not None and stored[0] >= VERSION


def _create_schema(conn: Conn, schema: str, destination_id: str) -> None:
    exists = conn.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", [schema])
    if exists.fetchone() != (True,):
        conn.execute(query(schema, "CREATE SCHEMA {schema}"))
    for name in SQL_FILES:
        file = Path(__file__).with_name(name)
        conn.execute(query(schema, file.read_text(encoding="utf-8")))
    row = [destination_id, secrets.token_bytes(32), VERSION, json.dumps(asdict(GraphOptions()))]
    conn.execute(query(schema, ADD_META), row)
    conn.execute(query(schema, SET_VERSION), [VERSION, VERSION])
    rules = [(r.id, r.id_type, r.exact, r.pattern, r.action) for r in DEFAULT_RULES]
    with conn.cursor() as cursor:
        cursor.executemany(query(schema, ADD_RULE), rules)
