"""The scenarios of identity the whole way: HTTP, event log, load, SQL."""

from __future__ import annotations

import json

import pytest
from django.core.cache import cache
from django.test import Client

from events.log import writer
from events.workers import queue
from sources.models import Source
from tests.support.identity_graph import SCENARIOS
from tests.support.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = {
    "malformed-merge-calls",
    "merge-call-with-33-properties",
}
"""Scenarios with calls that the gateway answers with 400."""


@pytest.fixture(autouse=True)
def _processes():
    cache.clear()
    yield
    writer.close_writer()
    queue.close_enqueuer()


class WebHub(Hub):
    """Events come by the route for history, which keeps their receivedAt."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.refused = 0

    def append(self, *events):
        for event in events:
            source = Source.objects.get(pk=self.connection(event.get("source", "web")).source_id)
            payload = {key: value for key, value in event.items() if key != "source"}
            answer = Client().post(
                "/internal/v1/replay",
                json.dumps({"batch": [payload]}),
                content_type="application/json",
                headers={"X-Rudder-Source-Id": source.public_id},
            )
            assert answer.status_code in (200, 400), answer.content
            self.refused += answer.status_code == 400


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"alias-without-previous-id"}))
def test_a_scenario_gives_its_profiles_from_http_to_sql(warehouse, warehouse_url, settings, name):
    settings.INTERNAL_ROUTES = True
    scenario = SCENARIOS[name]
    hub = WebHub(warehouse, warehouse_url, scenario["config"])

    hub.play(scenario["given"])

    assert hub.clusters() == hub.expected(scenario["profiles"])
    assert (hub.refused > 0) == (name in REFUSED)


def test_an_alias_without_a_previous_id_does_not_pass_the_gateway(
    warehouse, warehouse_url, settings
):
    settings.INTERNAL_ROUTES = True
    given = SCENARIOS["alias-without-previous-id"]["given"]
    hub = WebHub(warehouse, warehouse_url)

    hub.play(given)

    assert hub.refused == len(given)
    assert hub.clusters() == {}
