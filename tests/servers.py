"""A pytest plugin: an embedded Postgres and Valkey for the tests, gone when they end.

Loaded by `-p tests.servers` in pyproject.toml. It acts before pytest-django reads the settings.
With RUDDERHUB_DATABASE_URL (and RUDDERHUB_CACHE_URL) in the environment the tests use those
servers; the role then needs the right to create databases and roles.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from rudderhub import instance as instances

KEPT = {"RUDDERHUB_DATABASE_URL", "RUDDERHUB_CACHE_URL", "RUDDERHUB_TEST_WAREHOUSE_URL"}


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
    if "RUDDERHUB_DATABASE_URL" not in os.environ:
        _start_postgres(instance, early_config)
    if "RUDDERHUB_CACHE_URL" not in os.environ:
        valkey = instance.valkey()
        early_config.add_cleanup(valkey.stop)
        valkey.start()
        os.environ["RUDDERHUB_CACHE_URL"] = valkey.url
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS"):
        os.environ[f"RUDDERHUB_{name}"] = instance.values[name]
    os.environ["RUDDERHUB_VAR_DIR"] = str(folder)
    return (yield)


def _folder():
    return Path(tempfile.mkdtemp(prefix="rudderhub-tests-"))


def _start_postgres(instance, config):
    # A kill -9 loses nothing that fsync would have saved: only a power cut does.
    postgres = instance.postgres({"fsync": "off", "max_connections": "200"})
    if postgres.home != instance.folder:
        config.add_cleanup(lambda: shutil.rmtree(postgres.home))
    config.add_cleanup(postgres.stop)
    postgres.start()
    instance.remember_postgres(postgres)
    postgres.run_sql("ALTER ROLE rudderhub CREATEDB CREATEROLE;")
    os.environ["RUDDERHUB_DATABASE_URL"] = instance.values["DATABASE_URL"]
    instance.forget("DATABASE_URL", "WAREHOUSE_URL", "CACHE_URL")
