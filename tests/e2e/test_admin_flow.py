"""Sources, connections, destinations, tables and system in headless Chromium."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk
from tests.support.http import basic_token
from tests.support.supervised_instance import running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def walked():
    """One walk through an instance of its own; the tests look at what it met."""
    with running() as instance:
        return walk(
            "flow_pages.py",
            instance,
            step="flow",
            setup_url=instance.info["setup_url"],
            basic=basic_token(instance.info["write_key"]),
        )


def test_a_test_event_leads_to_its_trace_and_is_loaded(walked):
    assert walked["event"] == {"trace": True, "loaded": True}


def test_the_list_of_sources_shows_the_event_and_its_sdk(walked):
    assert walked["source"] == {"sdk": True, "line": "M92 24v-24h3v24z"}


def test_the_picture_of_connections_fits_and_is_reached_by_the_keyboard(walked):
    assert walked["connections"] == {
        "wide": True,
        "narrow": True,
        "said": ["Website", "Website → Warehouse: up to date, nothing pending", "Warehouse"],
    }


def test_an_event_filter_needs_events(walked):
    assert walked["filter"] == {"refused": 1, "kept": "Left\npage"}


def test_a_destination_is_tested_loaded_and_given_ready_views(walked):
    assert walked["destination"] == {"steps": 10, "planned": 2}


def test_a_table_shows_its_rows_and_a_query(walked):
    assert walked["table"] == {
        "rows": 1,
        "query": 'SELECT * FROM "website"."test_event" LIMIT 100;',
    }


def test_all_parts_work_and_the_view_of_rows_was_logged(walked):
    assert walked["system"] == {"working": 6, "looks": 1}


def test_the_pages_are_sound(walked):
    assert walked["serious"] == {}
    assert walked["overflow"] == []
    assert walked["words"] == []
    assert walked["foreign"] == []
