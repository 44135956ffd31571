"""A pytest plugin: an embedded Postgres and Valkey that live as long as the tests.

Loaded by `-p tests.support.servers` in pyproject.toml, it acts before pytest-django reads the
settings. With RUDDERHUB_DATABASE_URL (and RUDDERHUB_CACHE_URL) in the environment the tests use
those servers; the role then needs the right to create databases and roles.

`-n auto` gives each core a process and servers of its own. Servers from the environment cannot be
shared, so that one process runs all tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from rudderhub.supervisor import instance as instances

KEPT = {"RUDDERHUB_DATABASE_URL", "RUDDERHUB_CACHE_URL", "RUDDERHUB_TEST_WAREHOUSE_URL"}
GIVEN = KEPT & os.environ.keys()
MOST_PROCESSES = 4
POSTGRES = {
    "fsync": "off",  # a kill -9 loses nothing that it would have saved: only a power cut does
    "max_connections": "200",
    "scram_iterations": "1",  # else four fifths of each connection go into the rounds of a hash
    "shared_buffers": "128MB",  # several run beside each other
}


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers():
    """The number of processes; 0 turns pytest-xdist off."""
    cores = os.cpu_count() or 1
    return 0 if GIVEN or cores == 1 else min(cores, MOST_PROCESSES)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config):
    for name in [name for name in os.environ if name.startswith("RUDDERHUB_")]:
        if name not in KEPT:
            del os.environ[name]  # the tests must not reach the developer's instance
    folder = _temporary_folder()
    early_config.add_cleanup(lambda: shutil.rmtree(folder))
    instance = instances.load(folder)
    # The name of the temporary data folder, for processes that tests start
    instance.values["EMBEDDED_ID"] = f"test-{instance.values['EMBEDDED_ID']}"
    if not _is_controller(early_config):
        _start_servers(instance, early_config)
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS"):
        os.environ[f"RUDDERHUB_{name}"] = instance.values[name]
    os.environ["RUDDERHUB_VAR_DIR"] = str(folder)
    return (yield)


def _temporary_folder():
    return Path(tempfile.mkdtemp(prefix="rudderhub-tests-"))


def _is_controller(config):
    """Whether this process is the controller of pytest-xdist, which runs no tests."""
    processes = getattr(config.known_args_namespace, "numprocesses", None)
    if processes == "auto":
        processes = pytest_xdist_auto_num_workers()
    return bool(processes) and "PYTEST_XDIST_WORKER" not in os.environ


def _start_servers(instance, config):
    if "RUDDERHUB_DATABASE_URL" not in os.environ:
        _start_postgres(instance, config)
    if "RUDDERHUB_CACHE_URL" not in os.environ:
        valkey = instance.valkey()
        config.add_cleanup(valkey.stop)
        valkey.start()
        os.environ["RUDDERHUB_CACHE_URL"] = valkey.url


def _start_postgres(instance, config):
    postgres = instance.postgres(POSTGRES)
    if postgres.home != instance.folder:
        config.add_cleanup(lambda: shutil.rmtree(postgres.home))
    config.add_cleanup(postgres.stop)
    postgres.start()
    instance.remember_postgres(postgres)
    postgres.run_sql("ALTER ROLE rudderhub CREATEDB CREATEROLE;")
    os.environ["RUDDERHUB_DATABASE_URL"] = instance.values["DATABASE_URL"]
    instance.forget("DATABASE_URL", "WAREHOUSE_URL", "CACHE_URL")
