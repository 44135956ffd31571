from __future__ import annotations

import re
import subprocess
import sys

from rudderhub.env import ROOT
from rudderhub.supervisor.processes import procfile

RUN = """
import os
from rudderhub.supervisor.processes import run_processes, say
say(run_processes({commands!r}, os.environ, [], lambda: None, stop_seconds=0.5))
"""


def run(**commands):
    """The output of a supervisor in a process of its own; the times are left out."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", RUN.format(commands=commands)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return re.sub(r"(?m)^\d\d:\d\d:\d\d |\(pid=\d+\)", "", done.stdout).splitlines()


def test_the_procfile_names_three_processes():
    assert list(procfile()) == ["web", "worker", "beat"]


def test_a_process_that_ends_stops_the_others_and_the_stubborn_are_killed(tmp_path):
    lines = run(
        web=f"trap '' TERM; touch {tmp_path}/up; echo is up; sleep 60",
        beat=f"until test -e {tmp_path}/up; do sleep 0.05; done; exit 3",
    )

    assert "web    | is up" in lines
    assert "rudderhub: beat ended with exit code 3; stopping everything" in lines
    assert "system | web stopped (rc=-9)" in lines
    assert lines[-1] == "rudderhub: beat ended with exit code 3"


def test_output_that_is_no_utf_8_is_printed_all_the_same():
    lines = run(web="printf 'caf\\351\\n'; exit 0")

    assert "web    | caf\N{REPLACEMENT CHARACTER}" in lines
