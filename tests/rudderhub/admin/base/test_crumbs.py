"""The head of each page: section and list as the navigation names them, then the page itself."""

from __future__ import annotations

import re

import pytest

from tests.support.factories import make_admin, make_connection, make_source

pytestmark = pytest.mark.django_db


@pytest.fixture
def head(client):
    """The title and the crumbs of a page."""
    client.force_login(make_admin())

    def head_of(path):
        page = client.get(f"/admin/{path}").content.decode()
        crumbs = re.search(r'<nav class="rh-crumbs".*?</nav>', page, re.DOTALL)[0]
        texts = re.findall(r"<(?:h1|a|span)\b[^>]*>([^<]+)</", crumbs)
        title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)[1].strip()
        return title, [text for text in texts if text != "chevron_right"]

    return head_of


@pytest.mark.parametrize(
    ("path", "crumbs"),
    [
        ("", ["Overview"]),
        ("events/event/", ["Live events"]),
        ("sources/source/", ["Flow", "Sources"]),
        ("sources/source/add/", ["Flow", "Sources", "Add source"]),
        ("tables/", ["Flow", "Tables"]),
        ("people/", ["People", "Profiles"]),
        ("admin/logentry/", ["Team", "Audit log"]),
        ("password_change/", ["Password change"]),
    ],
)
def test_a_page_is_named_as_in_the_navigation(head, path, crumbs):
    title, page_crumbs = head(path)

    assert page_crumbs == crumbs
    assert title == " | ".join([*reversed(crumbs), "rudderhub"])


def test_a_record_is_named_as_it_is(head):
    source = make_source(name="iOS app")
    url = f"sources/source/{source.pk}/"

    assert head(f"{url}change/")[1] == ["Flow", "Sources", "iOS app"]
    assert head(f"{url}history/")[1] == ["Flow", "Sources", "iOS app", "Change history"]
    assert head(f"{url}delete/")[1] == ["Flow", "Sources", "iOS app", "Delete"]


def test_a_page_of_an_action_ends_with_its_title(head):
    connection = make_connection(make_source(name="Shop"))

    crumbs = head(f"destinations/connection/{connection.pk}/replay/")[1]

    assert crumbs == ["Flow", "Connections", f"Replay of {connection}"]


def test_a_search_shows_the_number_of_results_where_they_are_counted(client):
    client.force_login(make_admin())
    make_source(name="Shop")

    sources = client.get("/admin/sources/source/?q=Shop").content.decode()
    events = client.get("/admin/events/event/?q=Shop").content.decode()

    assert (
        '<span class="rh-result-count">1 found · <a class="rh-link" href="?">Show all</a>'
        in sources
    )
    assert '<span class="rh-result-count"><a class="rh-link" href="?">Show all</a>' in events
