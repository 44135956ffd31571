"""Unmodified SDKs for servers run the lines of our docs; every event has its row."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rudderhub.env import ROOT
from tests.e2e.rows import TABLES, assert_loaded, assert_the_docs_calls
from tests.e2e.snippets import filled, snippets
from tests.support.wait import wait_for

pytestmark = pytest.mark.e2e

OWN_PYTHON = str(ROOT / ".venv-e2e" / "bin" / "python")
NODE_MODULES = str(ROOT / "var" / "e2e" / "node" / "node_modules")
SDKS = [
    ("connect-python", "rudder-sdk-python", "python", [sys.executable, "-c"]),
    ("connect-python", "segment-analytics-python", "python", [OWN_PYTHON, "-c"]),
    ("connect-python", "analytics-python", "python", [OWN_PYTHON, "-c"]),
    ("connect-node", "@rudderstack/rudder-sdk-node", "js", ["node", "-e"]),
    ("connect-node", "@segment/analytics-node", "js", ["node", "-e"]),
    ("connect-node", "@rudderstack/analytics-js-service-worker", "js", ["node", "-e"]),
]


def run(command):
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env=os.environ | {"NODE_PATH": NODE_MODULES},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("page", "sdk", "language", "command"), SDKS, ids=[s[1] for s in SDKS])
def test_every_call_of_the_sdk_has_its_row(
    page, sdk, language, command, instance, recorder, sdk_warehouse
):
    (lines,) = snippets(page, sdk, language)

    run([*command, filled(lines, recorder.url, instance.info["write_key"])])

    assert recorder.failures() == []
    assert_loaded(sdk_warehouse, recorder.messages())
    assert_the_docs_calls(sdk_warehouse, recorder.messages(), TABLES)


def test_curl_sends_each_call_and_a_batch(instance, recorder, sdk_warehouse):
    single, batch, _merge = snippets("connect-http", "curl", "sh")

    answers = run(["sh", "-c", filled(single, recorder.url, instance.info["write_key"])])
    messages = recorder.messages()
    answers += run(["sh", "-c", filled(batch, recorder.url, instance.info["write_key"])])

    assert answers == "OK" * 7
    assert_loaded(sdk_warehouse, recorder.messages())
    assert_the_docs_calls(sdk_warehouse, messages, TABLES)


def test_a_merge_joins_its_identifiers_in_one_profile(instance, sdk_warehouse):
    merge = snippets("connect-http", "curl", "sh")[2]

    answer = run(["sh", "-c", filled(merge, instance.info["base_url"], instance.info["write_key"])])

    assert answer == "OK"
    wait_for(lambda: sdk_warehouse.rudder_id("loyalty_card", "card-1"), 30)
    assert sdk_warehouse.rudder_id("loyalty_card", "card-1") == sdk_warehouse.rudder_id(
        "user_id", "user-1"
    )
