"""Checks step by step what a load needs from a warehouse; leaves nothing behind."""

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

_CREATE_TABLE = "CREATE TABLE {table} (id text PRIMARY KEY, properties jsonb)"
_CREATE_TEMPORARY_TABLE = "CREATE TEMPORARY TABLE {name} (LIKE {table}) ON COMMIT DROP"
_INSERT = "INSERT INTO {table} (id) VALUES ('1') ON CONFLICT (id) DO NOTHING"


@dataclass(frozen=True)
class CheckStep:
    name: str
    ok: bool
    detail: str


class _FailedError(Exception):
    """A failed step; the message says why and what to do."""


def check_connection(config: PostgresConfig, namespaces: Sequence[str] = ()) -> list[CheckStep]:
    """The steps up to the first failure, or all of STEPS when the warehouse can be loaded.

    `namespaces` are loaded schemas that the config does not name.
    """
    steps: list[CheckStep] = []
    try:
        steps.append(CheckStep("Reach the server", ok=True, detail=_reach_server(config)))
    except (OSError, UnicodeError) as error:
        return [CheckStep("Reach the server", ok=False, detail=_unreachable_detail(config, error))]
    try:
        conn = psycopg.connect(config.conninfo(), prepare_threshold=None)
    except psycopg.OperationalError as error:
        return [*steps, _login_failure(config, error)]
    with conn:
        steps.append(CheckStep("Log in", ok=True, detail=f"as {config.user} to {config.database}"))
        schemas = sorted({*namespaces, config.namespace, config.identity_schema} - {""})
        steps += _server_steps(conn, config, schemas)
        conn.rollback()
    return steps


def _server_steps(conn: Conn, config: PostgresConfig, schemas: Sequence[str]) -> list[CheckStep]:
    schema = f"rudderhub_check_{secrets.token_hex(6)}"
    tests: dict[str, Callable[[], str]] = {
        "TLS": lambda: _check_tls(conn, config),
        "Version": lambda: _check_version(conn),
        "Encoding": lambda: _check_encoding(conn),
        "Create a schema": lambda: _create_schema(conn, schema),
        "Create a table": lambda: _execute(conn, _CREATE_TABLE, schema),
        "Create a temporary table": lambda: _execute(conn, _CREATE_TEMPORARY_TABLE, schema),
        "Insert a row": lambda: _execute(conn, _INSERT, schema) + "; everything was rolled back",
        "Use its schemas": lambda: _check_schemas(conn, config, schemas),
    }
    steps: list[CheckStep] = []
    for name, test in tests.items():
        try:
            steps.append(CheckStep(name, ok=True, detail=test()))
        except _FailedError as error:
            return [*steps, CheckStep(name, ok=False, detail=str(error))]
        except psycopg.Error as error:
            return [*steps, CheckStep(name, ok=False, detail=_error_detail(config, error))]
    return steps


def _reach_server(config: PostgresConfig) -> str:
    if config.host.startswith("/"):
        path = f"{config.host}/.s.PGSQL.{config.port}"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_SECONDS)
            client.connect(path)
        return f"{path} answers"
    with socket.create_connection((config.host, config.port), TIMEOUT_SECONDS):
        return f"{config.host} port {config.port} answers"


def _unreachable_detail(config: PostgresConfig, error: OSError | UnicodeError) -> str:
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


def _login_failure(config: PostgresConfig, error: psycopg.OperationalError) -> CheckStep:
    """The failed step; libpq gives no SQLSTATE for it, so the server's message decides."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        detail = (
            f"{config.host} port {config.port} accepted the connection but sent no reply for "
            f"{TIMEOUT_SECONDS} seconds. Check that it is Postgres and that it is not stopped or "
            "overloaded."
        )
        return CheckStep("Log in", ok=False, detail=detail)
    message = _server_message(config, error)
    reason = _SERVER_ADDRESS.sub("", message)
    for words, step, advice in _REFUSALS:
        if re.search(words, reason):
            return CheckStep(step, ok=False, detail=f"{advice.format(config=config)} ({message})")
    return CheckStep("Log in", ok=False, detail=f"The server refused the connection: {message}")


_SERVER_ADDRESS = re.compile(r'connection to server (at|on socket) "[^"]*"')
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


def _check_tls(conn: Conn, config: PostgresConfig) -> str:
    if conn.pgconn.ssl_in_use:
        return "the connection is encrypted"
    if config.sslmode in _ENCRYPTED_MODES and not config.host.startswith("/"):
        raise _FailedError(f"The connection is not encrypted and sslmode is {config.sslmode}.")
    return f"not encrypted (sslmode {config.sslmode}); use require on public networks"


def _check_version(conn: Conn) -> str:
    version, minor = divmod(conn.info.server_version, 10_000)
    if version < OLDEST_VERSION:
        raise _FailedError(
            f"PostgreSQL {version}; loads need {OLDEST_VERSION} or newer. Upgrade it."
        )
    return f"PostgreSQL {version}.{minor}"


def _check_encoding(conn: Conn) -> str:
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


def _execute(conn: Conn, statement: str, schema: str) -> str:
    table = pgsql.Identifier(schema, "events")
    conn.execute(SQL(statement).format(table=table, name=pgsql.Identifier(schema)))
    return "allowed"


def _check_schemas(conn: Conn, config: PostgresConfig, schemas: Sequence[str]) -> str:
    """Check existing schemas, which may belong to another user."""
    rows = conn.execute(_SCHEMAS, [list(schemas)]).fetchall()
    closed = ", ".join(f'"{name}"' for name, is_open in rows if not is_open)
    if closed:
        grant = f'GRANT USAGE, CREATE ON SCHEMA {closed} TO "{config.user}"'
        raise _FailedError(
            f"User {config.user!r} cannot create tables in {closed}. As the owner, run: {grant}"
        )
    existing = ", ".join(name for name, _ in rows)
    return f"allowed in {existing}" if existing else "no schemas yet; the first load creates them"


def _error_detail(config: PostgresConfig, error: psycopg.Error) -> str:
    message = _server_message(config, error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        grant = f'GRANT CREATE, TEMPORARY ON DATABASE "{config.database}" TO "{config.user}"'
        return f"User {config.user!r} lacks this permission. As the owner, run: {grant} ({message})"
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return f"The server is read-only. Use the address of the primary. ({message})"
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"The server did not finish this within {TIMEOUT_SECONDS} seconds. ({message})"
    return message


def _server_message(config: PostgresConfig, error: psycopg.Error) -> str:
    """The server's message in one line, without the password that it may echo."""
    message = one_line(error)
    return message.replace(config.password, "***") if config.password else message
