"""The picture of connections, and how far each is behind."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise

import pytest
import time_machine
from django.utils import timezone

from events.loads import backlog
from events.loads.backlog import Backlog, backlogs
from events.loads.run import run_load
from events.log import counts
from events.log.database import log_connection
from events.models import Loss
from rudderhub.admin.data.diagram_layout import NARROW, ROW, WIDE, DiagramEdge, DiagramNode, diagram
from tests.support.connections import send
from tests.support.events import track
from tests.support.factories import (
    make_connection,
    make_destination,
    make_event,
    make_source,
)
from tests.support.http import html

LIST = "/admin/destinations/connection/"


def edge(source, destination, **fields):
    given = {"kind": "good", "word": "up to date", "note": "", "alternative": "", "url": "/"}
    return DiagramEdge(source, destination, **given | fields)


def nodes(count):
    return [DiagramNode(n, f"Node {n}", f"/{n}") for n in range(count)]


def overlaps(boxes):
    """Boxes of a column that share a place."""
    spans = sorted((box.x, box.y) for box in boxes)
    return [
        (one, two)
        for one, two in pairwise(spans)
        if one[0] == two[0] and two[1] - one[1] < boxes[0].height
    ]


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_no_boxes_share_a_place_and_all_stay_within(count, layout):
    edges = [edge(n, n // 2) for n in range(count)]

    drawn = diagram(nodes(count), nodes(count), edges, layout)

    assert len(drawn.boxes) == 3 * count
    assert len(drawn.lines) == 2 * count
    assert overlaps(drawn.boxes) == []
    assert min(box.y for box in drawn.boxes) >= 0
    assert max(box.y + box.height for box in drawn.boxes) <= drawn.height
    assert max(box.x + box.width for box in drawn.boxes) <= layout.width


def test_many_connections_make_the_diagram_higher_not_denser():
    edges = [edge(source, destination) for source in range(5) for destination in range(4)]

    drawn = diagram(nodes(5), nodes(4), edges, WIDE)

    assert drawn.height == 20 * ROW
    assert overlaps(drawn.boxes) == []


def test_destinations_stand_near_their_connections():
    edges = [edge(0, "b"), edge(1, "a")]
    ends = [DiagramNode(key, key, "/") for key in ("unused", "a", "b")]

    drawn = diagram(nodes(2), ends, edges, WIDE)

    names = [box.lines[0] for box in drawn.boxes if box.x > WIDE.width / 2 and box.y < 2 * ROW]
    assert names == ["b", "a"]
    assert [box.lines[0] for box in drawn.boxes if box.y > 2 * ROW] == ["unused"]


def test_a_line_leads_from_the_source_by_the_connection_to_the_destination():
    drawn = diagram(nodes(1), nodes(1), [edge(0, 0)], WIDE)

    assert [line.path for line in drawn.lines] == [
        "M220 27C285 27 285 27 350 27",
        "M610 27C675 27 675 27 740 27",
    ]


def test_health_is_shown_by_a_sign_and_a_word():
    kinds = {"good": "up to date", "wait": "loading", "bad": "failing", "off": "paused"}
    edges = [edge(0, 0, kind=kind, word=word, note="n") for kind, word in kinds.items()]

    drawn = diagram(nodes(1), nodes(1), edges, WIDE)

    assert [box.lines[0] for box in drawn.boxes if box.kind in kinds] == [
        "✓ up to date",
        "… loading",
        "✗ failing",
        "‖ paused",
    ]


def test_long_names_are_cut_and_available_in_full():
    drawn = diagram([DiagramNode(0, "A" * 40, "/")], [], [], NARROW)

    (box,) = drawn.boxes
    assert box.lines == ["A" * 13 + "…"]
    assert box.alternative == "A" * 40


def test_a_narrow_picture_names_the_destination_at_the_connection():
    given = (
        [DiagramNode(0, "Shop", "/")],
        [DiagramNode(1, "Lake", "/")],
        [edge(0, 1, note="2 pending")],
    )

    wide, narrow = diagram(*given, WIDE), diagram(*given, NARROW)

    assert wide.boxes[1].lines == ["✓ up to date", "2 pending"]
    assert narrow.boxes[1].lines == ["✓ up to date", "→ Lake"]


@pytest.mark.django_db(transaction=True)
def test_the_list_draws_each_connection_twice_for_wide_and_narrow_screens(admin_client):
    source, destination = make_source(name="Shop & Co"), make_destination(name="Lake")
    failing = make_connection(source, destination, error="no route", failures=1)
    make_event(source)
    make_event(source)

    page = html(admin_client.get(LIST))

    assert page.count('<svg class="rh-diagram') == 2
    titles = re.findall(r"<title>Shop &amp; Co → Lake: failing, 2 pending, for \d s</title>", page)
    assert len(titles) == 2
    assert page.count(f'<a href="{LIST}{failing.pk}/change/">') == 2
    assert page.count("✗ failing") == 2


@pytest.mark.django_db(transaction=True)
def test_unconnected_sources_and_destinations_are_drawn_unless_the_list_is_filtered(admin_client):
    connected = make_connection(make_source(name="Fed"))
    make_source(name="Alone")
    make_destination(name="Empty")

    everything = html(admin_client.get(LIST))
    filtered = html(admin_client.get(LIST, {"source__id__exact": connected.source_id}))

    assert "<title>Alone</title>" in everything
    assert "<title>Empty</title>" in everything
    assert "<title>Alone</title>" not in filtered
    assert "<title>Fed</title>" in filtered


@pytest.mark.django_db(transaction=True)
def test_without_anything_there_is_no_picture(admin_client):
    assert "rh-diagram" not in html(admin_client.get(LIST))


@pytest.mark.django_db(transaction=True)
def test_only_the_events_of_its_own_source_are_pending():
    source, now = make_source(), timezone.now()
    behind = make_connection(source, position=make_event(source).pk)
    make_event()
    oldest = make_event(source, received_at=now - timedelta(minutes=3))
    make_event(source)
    current = make_connection(make_source(), position=make_event().pk)

    counts = backlogs([behind, current])

    assert counts == {behind.pk: Backlog(2, oldest.received_at), current.pk: Backlog()}


@pytest.mark.django_db(transaction=True)
def test_counted_and_uncounted_events_are_pending():
    source = make_source()
    first = make_event(source)
    for _ in range(4):
        make_event(source)
    with log_connection() as conn:
        counts.advance_counts(conn, step=2)
    make_event(source)
    behind = make_connection(source, position=first.pk)

    assert backlogs([behind])[behind.pk].events == 5


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_starts_now_is_not_behind_what_came_before():
    source = make_source()
    make_event(source)
    new = make_connection(source, start="now")
    make_event(source)

    assert backlogs([new])[new.pk].events == 1


@pytest.mark.django_db(transaction=True)
def test_events_that_retention_dropped_are_not_pending():
    source = make_source()
    dropped = make_event(source)
    behind = make_connection(source)
    Loss.objects.create(
        connection=behind,
        day=date(2026, 1, 1),
        events=1,
        first_id=dropped.pk,
        last_id=dropped.pk,
        reason="r",
    )
    make_event(source)

    assert backlogs([behind])[behind.pk].events == 1


@pytest.mark.django_db(transaction=True)
def test_an_oldest_event_behind_many_of_other_sources_is_not_sought():
    behind = make_connection(source := make_source())
    make_event()
    make_event(source)

    assert backlog.oldest_event_times([behind], near=1) == {behind.pk: None}
    assert backlogs([behind])[behind.pk].events == 1


@pytest.mark.django_db(transaction=True)
def test_a_load_ends_the_lag(admin_client, connection):
    now = timezone.now()
    send(connection, track("m1"), received_at=now - timedelta(minutes=7))
    with time_machine.travel(now, tick=False):
        before = html(admin_client.get(f"{LIST}{connection.pk}/change/"))
    run_load(connection)

    after = html(admin_client.get(f"{LIST}{connection.pk}/change/"))

    assert "7\xa0minutes" in before
    assert "loading" in before
    assert "up to date" in after
