"""Tries, step by step, all that a load will need of a warehouse; leaves nothing behind."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import OLDEST_VERSION, Conn, one_line

STEPS = (
    "Reach the server",
    "Log in",
    "TLS",
    "Version",
    "Encoding",
    "Create a schema",
    "Create a table",
    "Create a temporary table",
    "Insert a row",
    "Use its schemas",
)
TIMEOUT_SECONDS = 5
_ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")

_SCHEMAS = """
SELECT nspname, has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')
FROM pg_namespace
WHERE nspname = ANY (%s)
ORDER BY 1
"""


@dataclass(frozen=True)
class CheckStep:
    name: str
    ok: bool
    detail: str


class _FailedError(Exception):
    """A step has failed; the message says why and what to do."""


def check_connection(config: PostgresConfig, namespaces: Sequence[str] = ()) -> list[CheckStep]:
    """The steps up to the first that fails; all of STEPS when the warehouse can be loaded.

    `namespaces` are schemas that were loaded, beside those that the config names.
    """
    steps: list[CheckStep] = []
    try:
        steps.append(CheckStep("Reach the server", ok=True, detail=_reach(config)))
    except (OSError, UnicodeError) as error:
        return [CheckStep("Reach the server", ok=False, detail=_unreached(config, error))]
    try:
        conn = psycopg.connect(config.conninfo(), prepare_threshold=None)
    except psycopg.OperationalError as error:
        return [*steps, _not_connected(config, error)]
    with conn:
        steps.append(CheckStep("Log in", ok=True, detail=f"as {config.user} to {config.database}"))
        schemas = sorted({*namespaces, config.namespace, config.identity_schema} - {""})
        steps += _checked(conn, config, schemas)
        conn.rollback()
    return steps


def _checked(conn: Conn, config: PostgresConfig, schemas: Sequence[str]) -> list[CheckStep]:
    schema = f"rudderhub_check_{secrets.token_hex(6)}"
    tests: dict[str, Callable[[], str]] = {
        "TLS": lambda: _tls(conn, config),
        "Version": lambda: _version(conn),
        "Encoding": lambda: _encoding(conn),
        "Create a schema": lambda: _create_schema(conn, schema),
        "Create a table": lambda: _create_table(conn, schema),
        "Create a temporary table": lambda: _create_temporary_table(conn, schema),
        "Insert a row": lambda: _insert(conn, schema),
        "Use its schemas": lambda: _use_schemas(conn, config, schemas),
    }
    steps: list[CheckStep] = []
    for name, test in tests.items():
        try:
            steps.append(CheckStep(name, ok=True, detail=test()))
        except _FailedError as error:
            return [*steps, CheckStep(name, ok=False, detail=str(error))]
        except psycopg.Error as error:
            return [*steps, CheckStep(name, ok=False, detail=_refused(config, error))]
    return steps


def _reach(config: PostgresConfig) -> str:
    if config.host.startswith("/"):
        path = f"{config.host}/.s.PGSQL.{config.port}"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_SECONDS)
            client.connect(path)
        return f"{path} answers"
    with socket.create_connection((config.host, config.port), TIMEOUT_SECONDS):
        return f"{config.host} port {config.port} answers"


def _unreached(config: PostgresConfig, error: OSError | UnicodeError) -> str:
    where = f"{config.host} port {config.port}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"The host name {config.host!r} cannot be resolved. Check its spelling."
    if isinstance(error, ConnectionRefusedError):
        return (
            f"No server listens at {where}. Check the port and that Postgres accepts TCP "
            "connections."
        )
    if isinstance(error, TimeoutError):
        return (
            f"No answer from {where} in {TIMEOUT_SECONDS} seconds. "
            "Check that no firewall blocks this machine."
        )
    return f"{where} cannot be reached: {error.strerror or error}. Check host and port."


def _silent(config: PostgresConfig) -> str:
    return (
        f"{config.host} port {config.port} accepted the connection but sent no reply for "
        f"{TIMEOUT_SECONDS} seconds. Check that it is Postgres and that it is not stopped or "
        "overloaded."
    )


def _not_connected(config: PostgresConfig, error: psycopg.OperationalError) -> CheckStep:
    """The libpq gives no SQLSTATE for a refused connection; the server's words have to do."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return CheckStep("Log in", ok=False, detail=_silent(config))
    said = _said(config, error)
    reason = _ADDRESS.sub("", said)
    for words, step, advice in _REFUSALS:
        if re.search(words, reason):
            return CheckStep(step, ok=False, detail=f"{advice.format(config=config)} ({said})")
    return CheckStep("Log in", ok=False, detail=f"The server refused the connection: {said}")


_ADDRESS = re.compile(r'connection to server (at|on socket) "[^"]*"')
_REFUSALS = (
    (
        "password authentication failed",
        "Log in",
        "User {config.user!r} or its password is wrong. Enter the password again.",
    ),
    (
        "no password supplied",
        "Log in",
        "The server requires a password, but none is stored. Enter it.",
    ),
    (
        "server does not support SSL",
        "TLS",
        "The server offers no TLS, but sslmode is {config.sslmode}. Turn TLS on or relax it.",
    ),
    (
        "certificate",
        "TLS",
        "The certificate fails {config.sslmode}. Check host name and issuer, or relax it.",
    ),
    (
        "no pg_hba.conf entry",
        "Log in",
        "The server's pg_hba.conf does not allow {config.user!r} from this machine. Add an entry.",
    ),
    (
        r'role ".*" (does not exist|is not)',
        "Log in",
        "User {config.user!r} does not exist or cannot log in.",
    ),
    (
        r'database ".*" does not exist',
        "Log in",
        "Database {config.database!r} does not exist. Create it first.",
    ),
    ("too many", "Log in", "The server has no free connections. Raise its limit or close some."),
)


def _tls(conn: Conn, config: PostgresConfig) -> str:
    if conn.pgconn.ssl_in_use:
        return "the connection is encrypted"
    if config.sslmode in _ENCRYPTED_MODES and not config.host.startswith("/"):
        raise _FailedError(f"The connection is not encrypted and sslmode is {config.sslmode}.")
    return f"not encrypted (sslmode {config.sslmode}); use require on public networks"


def _version(conn: Conn) -> str:
    version, minor = divmod(conn.info.server_version, 10_000)
    if version < OLDEST_VERSION:
        raise _FailedError(
            f"PostgreSQL {version}; loads need {OLDEST_VERSION} or newer. Upgrade it."
        )
    return f"PostgreSQL {version}.{minor}"


def _encoding(conn: Conn) -> str:
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise _FailedError(
            f"The database's encoding is {encoding}; rudderhub needs UTF8. Create a database with "
            "ENCODING 'UTF8'."
        )
    return encoding


def _create_schema(conn: Conn, schema: str) -> str:
    conn.execute(SQL("SET LOCAL statement_timeout = {}").format(TIMEOUT_SECONDS * 1000))
    conn.execute(SQL("SET LOCAL lock_timeout = {}").format(TIMEOUT_SECONDS * 1000))
    conn.execute(SQL("CREATE SCHEMA {}").format(pgsql.Identifier(schema)))
    return "allowed"


def _create_table(conn: Conn, schema: str) -> str:
    table = pgsql.Identifier(schema, "events")
    conn.execute(SQL("CREATE TABLE {} (id text PRIMARY KEY, properties jsonb)").format(table))
    return "allowed"


def _create_temporary_table(conn: Conn, schema: str) -> str:
    conn.execute(
        SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(
            pgsql.Identifier(schema), pgsql.Identifier(schema, "events")
        )
    )
    return "allowed"


def _insert(conn: Conn, schema: str) -> str:
    conn.execute(
        SQL("INSERT INTO {} (id) VALUES ('1') ON CONFLICT (id) DO NOTHING").format(
            pgsql.Identifier(schema, "events")
        )
    )
    return "allowed; everything was rolled back"


def _use_schemas(conn: Conn, config: PostgresConfig, schemas: Sequence[str]) -> str:
    """Those that are there already may be somebody else's."""
    found = conn.execute(_SCHEMAS, [list(schemas)]).fetchall()
    closed = ", ".join(f'"{name}"' for name, is_open in found if not is_open)
    if closed:
        grant = f'GRANT USAGE, CREATE ON SCHEMA {closed} TO "{config.user}"'
        raise _FailedError(
            f"User {config.user!r} cannot create tables in {closed}. As the owner, run: {grant}"
        )
    there = ", ".join(name for name, _ in found)
    return f"allowed in {there}" if there else "no schemas yet; the first load creates them"


def _refused(config: PostgresConfig, error: psycopg.Error) -> str:
    said = _said(config, error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        grant = f'GRANT CREATE, TEMPORARY ON DATABASE "{config.database}" TO "{config.user}"'
        return f"User {config.user!r} lacks this permission. As the owner, run: {grant} ({said})"
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return f"The server is read-only. Use the address of the primary. ({said})"
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"The server did not finish this within {TIMEOUT_SECONDS} seconds. ({said})"
    return said


def _said(config: PostgresConfig, error: psycopg.Error) -> str:
    """The server's words in one line; never the password, whatever it echoes."""
    said = one_line(error)
    return said.replace(config.password, "***") if config.password else said
