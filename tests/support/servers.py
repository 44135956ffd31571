"""A pytest plugin: an embedded Postgres and Valkey for the tests, gone when they end.

Loaded by `-p tests.support.servers` in pyproject.toml, it acts before pytest-django reads the
settings. With RUDDERHUB_DATABASE_URL (and RUDDERHUB_CACHE_URL) in the environment the tests use
those servers; the role then needs the right to create databases and roles.

`-n auto` gives each core a process of its own, with servers of its own. Servers that are given
cannot be shared: then one process runs all tests.
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
    """One with nobody beside it is none to pytest-xdist."""
    cores = os.cpu_count() or 1
    return 0 if GIVEN or cores == 1 else min(cores, MOST_PROCESSES)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config):
    for name in [name for name in os.environ if name.startswith("RUDDERHUB_")]:
        if name not in KEPT:
            del os.environ[name]  # the tests know nothing of the instance outside
    folder = _folder()
    early_config.add_cleanup(lambda: shutil.rmtree(folder))
    instance = instances.load(folder)
    # Into the temporary folder, too, for what a test starts as a process of its own
    instance.values["EMBEDDED_ID"] = f"test-{instance.values['EMBEDDED_ID']}"
    if not _leaves_the_tests_to_others(early_config):
        _start_servers(instance, early_config)
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS"):
        os.environ[f"RUDDERHUB_{name}"] = instance.values[name]
    os.environ["RUDDERHUB_VAR_DIR"] = str(folder)
    return (yield)


def _folder():
    return Path(tempfile.mkdtemp(prefix="rudderhub-tests-"))


def _leaves_the_tests_to_others(config):
    """As pytest-xdist's controller does."""
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
