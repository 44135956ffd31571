"""The tutorial, done as it says: its clicks in headless Chromium, its commands in a shell."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from rudderhub.env import ROOT
from tests.e2e.walk import FOLDER, walk
from tests.support.supervised_instance import running
from tests.support.wait import wait_for

pytestmark = pytest.mark.e2e

TUTORIAL = (ROOT / "docs" / "tutorial" / "first-profile.md").read_text()
SECONDS = 30
LINES = r"((?:(?!```).*\n)+)"
EXAMPLES = re.findall(rf"^```sh\n{LINES}```\n\n```\n{LINES}```", TUTORIAL, re.MULTILINE)
"""Each command that has its output right below."""


@pytest.fixture(scope="module")
def fresh():
    """An instance that nobody has sent to."""
    with running() as instance:
        yield instance


def test_the_tutorial_leads_to_a_resolved_profile(fresh):
    (send, answer), *queries = EXAMPLES

    begun = visit("begin", fresh, setup_url=fresh.info["setup_url"])
    assert (begun["pasted"], begun["ticks"]) == ("OK", 4)

    assert shell(fresh, send) == answer
    for query, rows in queries:
        wait_for(lambda query=query, rows=rows: shell(fresh, query) == rows, SECONDS)

    seen = visit("look", fresh)
    assert seen["states"] == ["loaded", "loaded"]
    assert seen["answer"].startswith("Yes. This path joins them")
    assert begun["words"] + seen["words"] == []
    assert len(queries) == 2


def visit(step, instance, **more):
    folder = str(FOLDER / "tutorial")
    return walk("tutorial_pages.py", instance, step=step, **{"folder": folder, **more})


def shell(instance, command):
    """What it prints, without blanks at the ends of lines."""
    done = subprocess.run(  # noqa: S603
        ["bash", "-ec", command.replace(".venv/bin/python", sys.executable)],  # noqa: S607
        cwd=ROOT,
        env=instance.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
