from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from rudderhub.supervisor import instance as instances
from rudderhub.supervisor.server import EmbeddedError, port_is_free


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Set up once, since initdb takes a second."""
    folder = tmp_path_factory.mktemp("instance")
    yield folder
    home = instances.load(folder).postgres().home
    if home != folder:
        shutil.rmtree(home)


@pytest.fixture
def own(folder):
    """The instance; what a test starts is stopped."""
    own = instances.load(folder)
    own.started = []
    yield own
    for server in own.started:
        server.stop()


def start_postgres(own):
    postgres = own.postgres()
    own.started.append(postgres)
    postgres.start()
    own.remember_postgres(postgres)
    return postgres


def start_valkey(own):
    valkey = own.valkey()
    own.started.append(valkey)
    valkey.start()
    own.remember_valkey(valkey)
    return valkey


def write_a_row(url):
    with psycopg.connect(url) as conn:
        conn.execute("DROP TABLE IF EXISTS kept")
        conn.execute("CREATE TABLE kept AS SELECT 'ada' AS name")


def rows(url):
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT name FROM kept").fetchall()


def without_password(url):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}"))


def arguments(server):
    return Path(f"/proc/{server.process.pid}/cmdline").read_text()


def test_postgres_keeps_its_data_its_port_and_its_passwords_from_run_to_run(own, folder):
    first = start_postgres(own)
    write_a_row(own.values["DATABASE_URL"])
    first.stop()

    again = instances.load(folder)
    again.started = own.started
    second = start_postgres(again)

    assert second.port == first.port
    assert again.values == own.values
    assert rows(again.values["DATABASE_URL"]) == [("ada",)]


def test_postgres_starts_with_its_data_after_a_kill_9(own):
    first = start_postgres(own)
    write_a_row(own.values["DATABASE_URL"])
    first.process.kill()

    start_postgres(own)

    assert rows(own.values["DATABASE_URL"]) == [("ada",)]


def test_postgres_that_a_dead_supervisor_left_is_stopped_first(own):
    orphan = start_postgres(own)
    write_a_row(own.values["DATABASE_URL"])

    start_postgres(own)

    assert orphan.process.wait(timeout=60) == 0
    assert rows(own.values["DATABASE_URL"]) == [("ada",)]


def test_a_pid_file_with_the_pid_of_another_program_does_not_block_postgres(own):
    first = start_postgres(own)
    first.process.kill()
    first.process.wait()
    pid_file = first.data / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(str(first.process.pid), str(os.getpid()), 1))

    second = start_postgres(own)

    assert second.process.poll() is None


def test_postgres_requires_a_password(own):
    start_postgres(own)

    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(without_password(own.values["DATABASE_URL"]))


def test_the_role_of_the_warehouse_reaches_only_its_database(own):
    start_postgres(own)
    elsewhere = urlunsplit(urlsplit(own.values["WAREHOUSE_URL"])._replace(path="/rudderhub"))

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(elsewhere)


def test_neither_role_is_a_superuser_and_the_databases_are_utf8(own):
    postgres = start_postgres(own)

    with psycopg.connect(
        postgres.url("postgres", postgres.superuser_password, "warehouse")
    ) as conn:
        superusers = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY rolname"
        ).fetchall()
        encodings = conn.execute(
            "SELECT DISTINCT pg_encoding_to_char(encoding) FROM pg_database"
        ).fetchall()
        settings = conn.execute(
            "SELECT current_setting('fsync'), current_setting('listen_addresses'),"
            " current_setting('unix_socket_directories'), current_setting('search_path')"
        ).fetchone()

    assert superusers == [("postgres",)]
    assert encodings == [("UTF8",)]
    assert settings == ("on", "127.0.0.1", "", "website, rudder_identity, public")


def test_another_port_is_taken_when_the_last_one_is_in_use(own):
    first = start_valkey(own)
    first.stop()
    stranger = start_valkey(instances_like(own))

    second = start_valkey(own)

    assert stranger.port == first.port
    assert second.port != first.port


def instances_like(own):
    """Another instance that happens to want the same port."""
    folder = own.folder / "other"
    folder.mkdir(exist_ok=True)
    other = instances.load(folder)
    other.started = own.started
    other.values["EMBEDDED_VALKEY_PORT"] = own.values["EMBEDDED_VALKEY_PORT"]
    return other


def test_valkey_keeps_its_data_after_a_kill_9(own):
    first = start_valkey(own)
    redis.Redis.from_url(first.url).set("name", "ada")
    first.process.kill()
    first.process.wait()

    second = start_valkey(own)

    with redis.Redis.from_url(second.url) as client:
        assert client.get("name") == b"ada"


def test_valkey_that_a_dead_supervisor_left_is_stopped_first(own):
    orphan = start_valkey(own)

    second = start_valkey(own)

    assert orphan.process.wait(timeout=60) == 0
    assert second.port == orphan.port


def test_valkey_requires_a_password(own):
    valkey = start_valkey(own)

    with (
        redis.Redis(port=valkey.port) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_valkey_never_drops_a_message_for_want_of_memory(own):
    valkey = start_valkey(own)

    with redis.Redis.from_url(valkey.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_the_arguments_of_a_server_contain_no_password(own):
    postgres, valkey = start_postgres(own), start_valkey(own)
    secrets = [text for name, text in own.values.items() if name.endswith("PASSWORD")]

    said = arguments(postgres) + arguments(valkey)

    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in said] == []


def test_the_secrets_are_readable_by_this_account_alone(own):
    start_valkey(own)

    files = [own.path, own.folder / "valkey" / "valkey.conf", own.folder / "valkey.log"]

    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 3


def test_a_stopped_server_frees_its_port(own):
    postgres, valkey = start_postgres(own), start_valkey(own)

    postgres.stop()
    valkey.stop()

    assert port_is_free("127.0.0.1", postgres.port)
    assert port_is_free("127.0.0.1", valkey.port)


def test_existing_data_without_passwords_are_not_overwritten_by_a_new_set_up(tmp_path):
    (tmp_path / "postgres").mkdir()

    with pytest.raises(EmbeddedError, match=r"instance\.env is missing"):
        instances.load(tmp_path)
