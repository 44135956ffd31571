"""The admin in headless Chromium: from the set-up link to a resolved profile, then every screen."""

from __future__ import annotations

import psycopg
import pytest

from tests.e2e.walk import walk
from tests.support.http import basic_token
from tests.support.supervised_instance import running
from tests.support.wait import wait_for

pytestmark = pytest.mark.e2e

GOOD = {"type": "track", "userId": "ann", "event": "Order Done", "properties": {"total": 9}}
ANN = {
    "type": "identify",
    "userId": "ann",
    "anonymousId": "tablet",
    "traits": {"email": "ann@shop.example", "name": "Ann"},
}
SHOWN = [
    {**GOOD, "messageId": "good"},
    {**GOOD, "messageId": "discarded", "properties": {"total": "free"}},
    {**GOOD, "messageId": "dead", "context": "no object"},
]
REFUSED = [{"type": "nonsense", "userId": "ann"}]


def in_browser(step, instance, **more):
    return walk("admin_pages.py", instance, step=step, **more)


@pytest.fixture(scope="module")
def instance():
    """One of its own: the first visit is one to an instance without events."""
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def first_visit(instance):
    """The set-up link is good for once, so all tests of this file share the visit."""
    batches = [[ANN, SHOWN[0]], SHOWN[1:], REFUSED]
    return in_browser(
        "set_up",
        instance,
        setup_url=instance.info["setup_url"],
        basic=basic_token(instance.info["write_key"]),
        batches=batches,
    )


@pytest.fixture(scope="module")
def visited(instance, first_visit):
    """Before a test that changes what the screens show."""
    wait_for(lambda: one(instance, "SELECT count(*) FROM events_deadletter") >= 1, 30)
    return in_browser("visit", instance, screens=screens(instance))


def one(instance, query):
    with psycopg.connect(instance.database_url) as conn:
        return conn.execute(query).fetchone()[0]


def test_the_ticks_turn_green_from_the_set_up_link_to_a_profile(first_visit):
    assert (first_visit["before"], first_visit["pasted"], first_visit["ticks"]) == (1, "OK", 4)
    assert first_visit["answers"] == [200, 200, 400]
    assert first_visit["words"] == []
    assert first_visit["foreign"] == []


def test_every_screen_is_sound(visited):
    assert set(visited["status"].values()) == {200}
    assert visited["serious"] == {}
    assert visited["words"] == []
    assert visited["foreign"] == []
    assert visited["overflow"] == []
    assert visited["unread"] == []


def test_a_key_is_rotated_and_a_failing_connection_names_its_step(instance, visited):
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


def test_the_main_controls_are_worked_by_the_keyboard(instance, visited):
    letter = one(instance, "SELECT min(id) FROM events_deadletter")
    destination = one(instance, "SELECT min(id) FROM destinations_destination")
    ann = profile_of_ann(instance)

    seen = in_browser(
        "keys",
        instance,
        letter=f"/admin/events/deadletter/{letter}/change/",
        profile=f"/admin/people/{destination}/{ann}/",
    )

    assert seen["paused"] == "true"
    assert seen["found"] == 1
    assert seen["unseen"] == []
    assert seen["words"] == []


def profile_of_ann(instance):
    with psycopg.connect(instance.info["warehouse_dsn"]) as conn:
        query = "SELECT rudder_id FROM rudder_identity.rudder_profiles WHERE user_id = 'ann'"
        return conn.execute(query).fetchone()[0]


def screens(instance):
    """Each page by the name of its picture; those that a click leads to are in the other walks."""

    def of(app, model, kind="change"):
        number = one(instance, f"SELECT min(id) FROM {app}_{model}")  # noqa: S608
        return f"{app}/{model}/{number}/{kind}/"

    destination = one(instance, "SELECT min(id) FROM destinations_destination")
    ann = profile_of_ann(instance)
    namespace = instance.info["namespace"]
    key = one(instance, "SELECT min(id) FROM sources_writekey")
    source = of("sources", "source", "keys")
    pages = {
        "overview": "",
        "overview-24h": "?range=24h",
        "live": "events/event/",
        "live-nothing": "events/event/?q=nobody",
        "sources": "sources/source/",
        "source": of("sources", "source"),
        "source-new": "sources/source/add/",
        "key-rotate": f"{source}{key}/rotate/",
        "key-revoke": f"{source}{key}/revoke/",
        "connections": "destinations/connection/",
        "connection": of("destinations", "connection"),
        "connection-new": "destinations/connection/add/",
        "connection-replay": of("destinations", "connection", "replay"),
        "destinations": "destinations/destination/",
        "destination": of("destinations", "destination"),
        "destination-new": "destinations/destination/add/",
        "ready-views": of("destinations", "destination", "views"),
        "loads": "events/load/",
        "load": of("events", "load"),
        "replays": "events/replay/",
        "tables": "tables/",
        "table": f"tables/{destination}/{namespace}/order_done/",
        "discards": "discards/",
        "widen": f"discards/{destination}/{namespace}/widen/?table=order_done&column=total",
        "people": "people/",
        "people-found": "people/?q=ann",
        "profile": f"people/{destination}/{ann}/?from=tablet&with=ann",
        "rules": f"people/{destination}/rules/",
        "privacy": "destinations/erasure/",
        "self-checks": "destinations/identitycheck/",
        "tokens": "destinations/profiletoken/",
        "token-new": "destinations/profiletoken/add/",
        "quarantine": "events/quarantined/",
        "quarantined": of("events", "quarantined"),
        "send-again": of("events", "quarantined", "send-again"),
        "quarantined-discard": of("events", "quarantined", "discard"),
        "dead-letters": "events/deadletter/",
        "dead-letter": of("events", "deadletter"),
        "dead-letters-rerun": of("events", "deadletter", "rerun/alike"),
        "dead-letter-discard": of("events", "deadletter", "discard/one"),
        "losses": "events/loss/",
        "users": "auth/user/",
        "user": of("auth", "user"),
        "user-new": "auth/user/add/",
        "roles": "auth/group/",
        "role": of("auth", "group"),
        "sessions": "sessions/session/",
        "audit": "admin/logentry/",
        "system": "system/",
        "second-factor": "second-factor/",
        "second-factor-set-up": "second-factor/set-up/",
        "password": "password_change/",
    }
    for name in ("good", "discarded", "dead"):
        found = one(instance, f"SELECT id FROM events_event WHERE message_id = '{name}'")  # noqa: S608
        pages[f"trace-{name}"] = f"events/event/{found}/change/"
    return {name: f"/admin/{path}" for name, path in pages.items()}
