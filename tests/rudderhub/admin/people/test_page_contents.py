"""How the pages of people show times, ids and values."""

from __future__ import annotations

import re

import pytest

from events.log import writer
from events.people import store
from tests.support.events import event
from tests.support.factories import make_admin
from tests.support.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)

ABSOLUTE = re.compile(r"(?<!<title)>[^<]*\d{4}-\d{2}-\d{2}[^<]*<")
"""A date in a text, not in an attribute or in what a part of the picture says on hover."""


@pytest.fixture(autouse=True)
def _closed():
    yield
    store.close_pooled()
    writer.close_writer()


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url)
    traits = {"name": "Ann", "address": {"city": "Kyiv"}, "vip": True}
    hub.load(event(1, "identify", anonymousId="tablet", userId="ann", traits=traits))
    hub.load(event(2, "identify", anonymousId="phone", userId="bob"))
    hub.load(event(3, "identify", anonymousId="tablet", userId="bob"))
    return hub


@pytest.fixture
def shown(hub, client):
    """The main part of each page; the parts around it show no data."""
    client.force_login(make_admin())
    pk = hub.destination.pk
    pages = {
        "search": "/admin/people/",
        "profile": f"/admin/people/{pk}/{hub.profile('ann')}/?from=ann&with=bob",
        "rules": f"/admin/people/{pk}/rules/",
    }
    found = {name: client.get(url).content.decode() for name, url in pages.items()}
    return {name: page[page.index('id="content"') :] for name, page in found.items()}


def test_times_are_relative_with_the_exact_one_on_hover(shown):
    texts = {name: ABSOLUTE.findall(page) for name, page in shown.items()}

    assert texts == {"search": [], "profile": [], "rules": []}
    for page in shown.values():
        assert re.search(r'title="[\d-]{10} [\d:]{8}\.\d{3} UTC">[^<]+ ago</time>', page)


def test_ids_have_a_button_that_copies_them(hub, shown):
    rudder_id = str(hub.profile("ann"))

    for page in shown.values():
        assert f'data-copy="{rudder_id}"' in page
    assert 'data-copy="m1"' in shown["profile"]
    assert 'data-copy="tablet"' in shown["profile"]


def test_a_trait_that_is_no_text_is_shown_as_json(shown):
    assert "<td>{&quot;city&quot;: &quot;Kyiv&quot;}</td>" in shown["profile"]
    assert "<td>true</td>" in shown["profile"]
