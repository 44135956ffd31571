"""The admin in headless Chromium: from the set-up link to a resolved profile, then every screen."""

from __future__ import annotations

import json
import os
import subprocess

import psycopg
import pytest

from rudderhub.env import ROOT
from tests.waiting import wait_for
from tests.wire import basic

pytestmark = pytest.mark.e2e

OWN_PYTHON = os.environ.get("RUDDERHUB_E2E_PYTHON") or str(ROOT / ".venv-e2e/bin/python")
FOLDER = ROOT / "var" / "screenshots"
AXE = ROOT / "var/e2e/node/node_modules/axe-core/axe.min.js"
GOOD = {"type": "track", "userId": "ann", "event": "Order Done", "properties": {"total": 9}}
ANN = {"type": "identify", "userId": "ann", "traits": {"email": "ann@shop.example", "name": "Ann"}}
SHOWN = [
    {**GOOD, "messageId": "good"},
    {**GOOD, "messageId": "discarded", "properties": {"total": "free"}},
    {**GOOD, "messageId": "dead", "context": "no object"},
]
REFUSED = [{"type": "nonsense", "userId": "ann"}]


def in_browser(step, instance, **more):
    job = {"step": step, "base_url": instance.info["base_url"], "folder": str(FOLDER), **more}
    done = subprocess.run(  # noqa: S603
        [OWN_PYTHON, "tests/e2e/admin_pages.py", json.dumps(job)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def first_visit(instance):
    """The set-up link is good for once, so all tests of this file share the visit."""
    batches = [[ANN, SHOWN[0]], SHOWN[1:], REFUSED]
    return in_browser(
        "set_up",
        instance,
        setup_url=instance.info["setup_url"],
        basic=basic(instance.info["write_key"]),
        batches=batches,
    )


def one(instance, query):
    with psycopg.connect(instance.database_url) as conn:
        return conn.execute(query).fetchone()[0]


def test_the_ticks_turn_green_from_the_set_up_link_to_a_profile(first_visit):
    assert first_visit["ticks"] == 4
    assert first_visit["answers"] == [200, 200, 400]
    assert first_visit["words"] == []
    assert first_visit["foreign"] == []


def test_every_screen_is_sound(instance, first_visit):
    wait_for(lambda: one(instance, "SELECT count(*) FROM events_deadletter") >= 1, 30)

    seen = in_browser("visit", instance, screens=screens(instance), axe=str(AXE))

    assert set(seen["status"].values()) == {200}
    assert seen["serious"] == {}
    assert seen["words"] == []
    assert seen["foreign"] == []
    assert seen["overflow"] == []


def test_a_key_is_rotated_and_a_failing_connection_names_its_step(instance, first_visit):
    source = one(instance, "SELECT min(id) FROM sources_source")
    with psycopg.connect(instance.database_url, autocommit=True) as conn:
        far = conn.execute(
            """
            INSERT INTO destinations_destination
                (public_id, name, type, enabled, config, secrets, created_at, updated_at)
            SELECT 'far', 'Far', type, true, config || '{"port": 1}', secrets, now(), now()
            FROM destinations_destination
            ORDER BY id
            LIMIT 1
            RETURNING id
            """
        ).fetchone()[0]

    seen = in_browser(
        "act",
        instance,
        source=f"/admin/sources/source/{source}/change/",
        destination=f"/admin/destinations/destination/{far}/change/",
    )

    assert "Reach the server" in seen["failed"]
    assert seen["keys"] >= 2
    assert seen["words"] == []


def screens(instance):
    """Each page by the name of its picture."""
    source = one(instance, "SELECT min(id) FROM sources_source")
    load = one(instance, "SELECT min(id) FROM events_load")
    pages = {
        "overview": "",
        "overview-24h": "?range=24h",
        "live": "events/event/",
        "sources": "sources/source/",
        "source": f"sources/source/{source}/change/",
        "connections": "destinations/connection/",
        "destinations": "destinations/destination/",
        "loads": "events/load/",
        "load": f"events/load/{load}/change/",
        "replays": "events/replay/",
        "tables": "tables/",
        "discards": "discards/",
        "people": "people/",
        "quarantine": "events/quarantined/",
        "dead-letters": "events/deadletter/",
        "privacy": "destinations/erasure/",
        "users": "auth/user/",
        "audit": "admin/logentry/",
        "system": "system/",
    }
    for name in ("good", "discarded", "dead"):
        found = one(instance, f"SELECT id FROM events_event WHERE message_id = '{name}'")  # noqa: S608
        pages[f"trace-{name}"] = f"events/event/{found}/change/"
    refused = one(instance, "SELECT min(id) FROM events_quarantined")
    pages["quarantined"] = f"events/quarantined/{refused}/change/"
    return {name: f"/admin/{path}" for name, path in pages.items()}
