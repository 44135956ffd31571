from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from rudderhub.env import ROOT
from rudderhub.supervisor import instance as instances
from rudderhub.supervisor.server import end_with_parent, free_port

UP_SECONDS = 60
LAST_LINE = "/v1/track\n"  # of the welcome


class Up:
    """A `manage.py up` whose output is read as it comes."""

    def __init__(self, environment):
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509  # no lock is taken
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)

    @property
    def output(self):
        return "".join(self.lines)

    def wait_for(self, text):
        give_up = time.monotonic() + UP_SECONDS
        while text not in self.output:
            assert time.monotonic() < give_up, self.output
            assert self.process.poll() is None, self.output
            time.sleep(0.05)

    def end(self):
        """The exit code, all output being read."""
        code = self.process.wait(timeout=UP_SECONDS)
        self.reader.join(timeout=UP_SECONDS)
        return code

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("up") / "var"
    yield folder
    folder.mkdir(exist_ok=True)  # not every test starts an instance
    home = instances.load(folder).postgres().home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def environment(folder):
    """As in a shell that names no servers."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("RUDDERHUB_")}
    return {**ours, "RUDDERHUB_VAR_DIR": str(folder), "RUDDERHUB_PORT": str(free_port())}


@pytest.fixture
def up(environment):
    """Starts one; whatever is left at the end is stopped."""
    started = []

    def start():
        started.append(Up(environment))
        return started[-1]

    yield start
    for one in started:
        one.interrupt()


@pytest.fixture
def info(environment):
    def ask():
        done = subprocess.run(
            [sys.executable, "manage.py", "info", "--json"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    return ask


def curl(output):
    """The command as the terminal shows it."""
    return re.search(r"^  curl .*\n(?:    .*\n)+", output, re.MULTILINE)[0]


def kept_events(folder):
    own = instances.stored_values(folder)
    with psycopg.connect(own["DATABASE_URL"]) as conn:
        return conn.execute("SELECT type, event, user_id FROM events_event ORDER BY id").fetchall()


def group_of(output, name):
    return int(re.search(rf"{name} started \(pid=(\d+)\)", output)[1])


def run_curl(output):
    return subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", curl(output)], capture_output=True, text=True, check=True
    ).stdout


def test_the_printed_curl_sends_an_event_and_an_interrupt_stops_all(up, info, folder):
    running = up()
    running.wait_for(LAST_LINE)
    before = len(kept_events(folder))

    answer = run_curl(running.output)

    assert answer.strip('"\n') == "OK"
    assert kept_events(folder)[before:] == [("track", "Order Completed", "ada")]
    assert info()["setup_url"] in running.output
    assert running.interrupt() == 0
    assert running.lines[-1] == "rudderhub: stopped\n"


def test_a_killed_supervisor_does_not_block_the_next_and_a_dead_part_stops_all(up, info, folder):
    killed = up()
    killed.wait_for(LAST_LINE)
    run_curl(killed.output)
    facts, events = info(), kept_events(folder)
    killed.process.kill()
    killed.end()

    after = up()
    after.wait_for(LAST_LINE)
    kept = info(), kept_events(folder)
    os.killpg(group_of(after.output, "worker"), signal.SIGKILL)

    assert kept == (facts, events)
    assert after.end() == 1
    assert "rudderhub: worker ended with exit code -9; stopping everything\n" in after.lines


def test_a_port_in_use_is_one_clear_line(up, environment):
    with socket.create_server(("127.0.0.1", int(environment["RUDDERHUB_PORT"]))):
        refused = up()
        code = refused.end()

    port = int(environment["RUDDERHUB_PORT"])
    assert code == 1
    assert refused.output == (
        f"rudderhub: port {port} on 127.0.0.1 is in use by another program; stop it, or use "
        f"another port with RUDDERHUB_PORT={port + 1}\n"
    )


def test_a_second_up_on_the_same_folder_is_refused(up, folder):
    folder.mkdir(exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        refused = up()
        code = refused.end()
        lock.truncate(0)

    assert code == 1
    assert refused.output == f"rudderhub: already running on {folder} (process 4711)\n"


def test_a_folder_that_cannot_be_made_is_one_clear_line(up, environment, tmp_path):
    (tmp_path / "file").touch()
    environment["RUDDERHUB_VAR_DIR"] = str(tmp_path / "file" / "var")

    refused = up()

    assert refused.end() == 1
    assert re.fullmatch(r"rudderhub: .*/file/var cannot be written \(.*\); .*\n", refused.output)


def test_a_setting_that_cannot_be_read_is_one_clear_line(up, environment):
    environment["RUDDERHUB_PORT"] = "eighty"

    refused = up()

    assert refused.end() == 1
    assert refused.output == "rudderhub: RUDDERHUB_PORT is not a whole number\n"


def test_a_database_of_ones_own_that_does_not_answer_is_one_clear_line(up, environment):
    nowhere = free_port()
    environment["RUDDERHUB_DATABASE_URL"] = f"postgresql://me:secret@127.0.0.1:{nowhere}/mine"

    refused = up()

    assert refused.end() == 1
    assert re.fullmatch(
        r"rudderhub: `manage.py set_up` failed: .*refused.*\n", refused.output, re.DOTALL
    )
    assert "secret" not in refused.output


def test_the_folder_is_made_for_this_account_alone(up, environment, tmp_path):
    made = Path(environment["RUDDERHUB_VAR_DIR"]).parent / "fresh"
    environment["RUDDERHUB_VAR_DIR"] = str(made)

    with socket.create_server(("127.0.0.1", int(environment["RUDDERHUB_PORT"]))):
        up().end()

    assert made.stat().st_mode & 0o777 == 0o700
