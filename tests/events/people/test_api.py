from __future__ import annotations

import jsonschema_rs
import pytest
import yaml

from events.log import writer
from events.people import store
from events.people.api import new_token
from events.people.api_urls import urlpatterns
from rudderhub.env import ROOT
from tests.support.events import event
from tests.support.identity_graph import anonymous
from tests.support.people import Hub

DOCUMENT = yaml.safe_load((ROOT / "docs" / "profiles-openapi.yaml").read_text())

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url)
    hub.load(
        event(1, anonymousId="phone", event="Looked"),
        event(2, "identify", anonymousId="phone", userId="ann", traits={"plan": "free"}),
        event(3, "page", anonymousId="laptop", name="Home"),
    )
    hub.load(
        event(4, "identify", anonymousId="laptop", userId="ann", traits={"plan": "pro"}),
    )
    yield hub
    store.close_pooled()
    writer.close_writer()


@pytest.fixture
def get(hub, client):
    _, text = new_token(hub.destination, "reports")
    return lambda path, **query: client.get(
        f"/api/v1/profiles{path}", query, headers={"Authorization": f"Bearer {text}"}
    )


def test_a_profile_is_found_by_any_identifier(hub, get):
    answer = get("", identifier="laptop")

    (profile,) = answer.json()["profiles"]
    assert answer.status_code == 200
    assert profile["rudder_id"] == str(hub.key(anonymous("phone")))
    assert profile["user_id"] == "ann"
    assert profile["traits"] == {"plan": "pro"}
    assert profile["identifiers"] == {"anonymous_id": ["phone", "laptop"], "user_id": ["ann"]}
    assert get("", identifier="ann", type="user_id").json()["profiles"] == [profile]
    assert get("", identifier="ann", type="email").json() == {"profiles": []}


def test_a_profile_is_read_by_its_id_and_by_a_former_one(hub, get):
    now, former = hub.key(anonymous("phone")), hub.key(anonymous("laptop"))

    answer = get(f"/{former}").json()

    assert answer == get(f"/{now}").json()
    assert (answer["rudder_id"], answer["former_ids"]) == (str(now), [str(former)])


def test_traits_have_the_event_that_they_come_from(hub, get):
    answer = get(f"/{hub.key(anonymous('phone'))}/traits").json()

    assert answer["traits"] == [
        {
            "name": "plan",
            "value": "pro",
            "timestamp": "2026-03-01T10:00:04.000000+00:00",
            "received_at": "2026-03-01T10:00:04.000000+00:00",
            "message_id": "m4",
            "identifier": {"type": "user_id", "value": "ann"},
        }
    ]


def test_events_come_newest_first_and_in_pages(hub, get):
    path = f"/{hub.key(anonymous('laptop'))}/events"

    first = get(path, limit=3).json()["events"]
    rest = get(path, before=first[-1]["received_at"]).json()["events"]

    assert [(e["message_id"], e["type"]) for e in first] == [
        ("m4", "identify"),
        ("m3", "page"),
        ("m2", "identify"),
    ]
    assert [(e["message_id"], e["event"]) for e in rest] == [("m1", "looked")]


def test_a_page_may_end_among_events_received_at_once(hub, get):
    hub.load(*(event(9, messageId=f"s{n}", userId="ann", event="Seen") for n in range(5)))
    path = f"/{hub.key(anonymous('phone'))}/events"

    pages = [get(path, limit=2).json()["events"]]
    for _ in range(2):
        last = pages[-1][-1]
        page = get(path, limit=2, before=last["received_at"], before_id=last["message_id"])
        pages.append(page.json()["events"])

    assert [row["message_id"] for page in pages for row in page] == [
        *("s4", "s3", "s2", "s1", "s0"),
        "m4",
    ]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic eDp5", "Bearer "])
def test_without_a_valid_token_nothing_is_read(hub, client, header):
    answer = client.get("/api/v1/profiles?identifier=ann", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_revoked_token_reads_nothing(hub, client):
    token, text = new_token(hub.destination, "reports")
    token.revoked_at = token.created_at
    token.save()

    answer = client.get(
        "/api/v1/profiles?identifier=ann", headers={"Authorization": f"Bearer {text}"}
    )

    assert answer.status_code == 401
    assert text not in str(token.__dict__)


@pytest.mark.parametrize(
    ("path", "query"),
    [("", {}), ("/{id}/events", {"limit": "0"}), ("/{id}/events", {"before": "x"})],
)
def test_a_bad_query_is_refused(hub, get, path, query):
    answer = get(path.format(id=hub.key(anonymous("phone"))), **query)

    assert answer.status_code == 400


def test_an_unknown_id_is_not_found(get):
    assert get("/00000000-0000-4000-8000-000000000000").status_code == 404


def test_nothing_can_be_written(hub, client):
    _, text = new_token(hub.destination, "reports")

    answer = client.post("/api/v1/profiles", headers={"Authorization": f"Bearer {text}"})

    assert answer.status_code == 405


def test_an_unavailable_warehouse_is_answered_with_503(hub, get):
    store.close_pooled()
    hub.destination.config = {**hub.destination.config, "port": 1}
    hub.destination.save()

    assert get("", identifier="ann").status_code == 503


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_responses_match_the_documentation(hub, get, path):
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    rudder_id = str(hub.key(anonymous("phone")))

    answer = get(
        path.removeprefix("/api/v1/profiles").format(rudder_id=rudder_id), identifier="ann"
    )

    resolver = {**schema["schema"], "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(resolver).validate(answer.json())


def test_every_route_is_documented():
    routes = {
        f"/api/v1/{route.pattern}".replace("<uuid:rudder_id>", "{rudder_id}")
        for route in urlpatterns
    }

    assert routes == set(DOCUMENT["paths"])


def test_a_profile_is_read_from_as_few_pages_among_many_people(hub):
    alone = pages_read(hub)
    hub.load(*(event(n % 60, "identify", userId=f"u{n}", anonymousId=f"a{n}") for n in range(900)))

    assert pages_read(hub) <= alone + MORE_LEVELS


MORE_LEVELS = 8
"""Of the indexes that are looked into; a scan of 1,800 identifiers reads more."""


def pages_read(hub):
    """Of Postgres, by the second call in a session."""
    query = (
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {schema}.rudder_profile('laptop')"
    )
    hub.rows(query)
    plan = hub.rows(query)[0][0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
