"""The README's commands give what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from rudderhub.env import ROOT
from tests.support.instance import RunningInstance

README = (ROOT / "README.md").read_text()


def examples():
    """Each command of the README that begins with a prompt, with the output shown under it."""
    found = []
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", README, re.MULTILINE):
        for example in re.split(r"^    \$ ", block, flags=re.MULTILINE)[1:]:
            lines = [line.removeprefix("    ").rstrip() for line in example.splitlines()]
            ends = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
            output = [line for line in lines[ends + 1 :] if line]
            found.append(("\n".join(lines[: ends + 1]), output))
    return found


def shell(instance, command):
    python = command.replace(".venv/bin/python", sys.executable)
    setup = f'eval "$({sys.executable} manage.py info --shell)"\n'
    done = subprocess.run(  # noqa: S603
        ["bash", "-ec", setup + python],  # noqa: S607
        cwd=ROOT,
        env=instance.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.rstrip() for line in done.stdout.splitlines()]


def shell_until(instance, command, output):
    """What the command prints, asked again until it is this output."""
    given = []
    until = time.monotonic() + 120
    while given != output and time.monotonic() < until:
        given = shell(instance, command)
    return given


@pytest.fixture
def fresh():
    """An instance that nobody has sent to."""
    instance = RunningInstance()
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()


def test_the_commands_give_the_output_shown(fresh):
    shown = examples()

    for command, output in shown:
        assert shell_until(fresh, command, output) == output

    assert len(shown) == 5
