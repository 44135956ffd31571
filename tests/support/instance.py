"""A whole instance for tests: web, worker and beat as processes, with their own databases."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier

from rudderhub.env import ROOT
from rudderhub.supervisor.processes import procfile
from rudderhub.supervisor.server import end_with_parent, free_port
from tests.support.warehouse import drop_database

START_SECONDS = 120
_numbers = itertools.count(1)  # of Valkey's databases; two instances must not share a broker


class RunningInstance:
    """Has the facts of `manage.py info --json` as attributes: base_url, write_key, source_id, …"""

    def __init__(self):
        server = os.environ["RUDDERHUB_DATABASE_URL"]
        self.folder = Path(tempfile.mkdtemp(prefix="rudderhub-instance-"))
        name = f"instance_{os.getpid()}_{secrets.token_hex(3)}"
        self.databases = [name, f"{name}_warehouse"]
        self.server = server
        self.processes = {}
        port = free_port()
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "RUDDERHUB_BASE_URL": f"http://127.0.0.1:{port}",
            "RUDDERHUB_CACHE_URL": urlunsplit(
                urlsplit(os.environ["RUDDERHUB_CACHE_URL"])._replace(path=f"/{next(_numbers)}")
            ),
            "RUDDERHUB_DATABASE_URL": _database(server, self.databases[0]),
            "RUDDERHUB_PORT": str(port),
            "RUDDERHUB_VAR_DIR": str(self.folder),
            "RUDDERHUB_WAREHOUSE_URL": _database(server, self.databases[1]),
        }

    def start(self):
        with psycopg.connect(self.server, autocommit=True) as conn:
            for name in self.databases:
                conn.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        for name, value in json.loads(self.manage("set_up")).items():
            setattr(self, name, value)
        for name in ("web", "worker", "beat"):
            self.start_part(name)
        self._wait_for_web()

    def stop(self):
        for process in self.processes.values():
            _signal_group(process, signal.SIGTERM)
        for name in list(self.processes):
            self.processes[name].wait(timeout=120)
        with psycopg.connect(self.server, autocommit=True) as conn:
            for name in self.databases:
                drop_database(conn, name)
        shutil.rmtree(self.folder)

    def manage(self, *arguments):
        """The output of a management command of this instance."""
        done = self.try_manage(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_manage(self, *arguments):
        return subprocess.run(  # noqa: S603
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start_part(self, name):
        """Start web, worker or beat as the Procfile has it, with its output in <name>.log."""
        command = procfile()[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509  # no lock is taken
            )

    def kill_part(self, name):
        """Kill a part and its children with SIGKILL."""
        process = self.processes.pop(name)
        _signal_group(process, signal.SIGKILL)
        process.wait()

    def kill_worker(self):
        self.kill_part("worker")

    def start_worker(self):
        self.start_part("worker")

    @contextmanager
    def chunks_of(self, events):
        """The instance, with a worker that loads this number of events per chunk."""
        self.kill_worker()
        self.environment["RUDDERHUB_LOAD_CHUNK_EVENTS"] = str(events)
        self.start_worker()
        yield self
        self.kill_worker()
        del self.environment["RUDDERHUB_LOAD_CHUNK_EVENTS"]
        self.start_worker()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def _wait_for_web(self):
        address = urlsplit(self.base_url)
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=2)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == http.client.OK:
                    return
            except OSError:
                time.sleep(0.1)
            finally:
                connection.close()
        raise AssertionError(f"the web does not answer: {self.log('web')}")


def event_count_and_last_id(instance):
    """The number of events in the log, and the id of the last one."""
    with psycopg.connect(instance.environment["RUDDERHUB_DATABASE_URL"]) as conn:
        return conn.execute("SELECT count(*), max(id) FROM events_event").fetchone()


def table_identifier(instance, table):
    return Identifier(instance.namespace, table)


def has_row(warehouse, instance, table, row_id):
    """Whether the table exists and has the row."""
    name = table_identifier(instance, table)
    (table_name,) = warehouse.execute(
        "SELECT to_regclass(%s)", [name.as_string(warehouse)]
    ).fetchone()
    if table_name is None:
        return False
    query = SQL("SELECT 1 FROM {} WHERE id = %s").format(name)
    return warehouse.execute(query, [row_id]).fetchone() is not None


def _database(server, name):
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _signal_group(process, number):
    if process.poll() is None:
        os.killpg(process.pid, number)
