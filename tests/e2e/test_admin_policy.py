"""What unfold's scripts drive works in headless Chromium under the content security policy."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk
from tests.support.http import basic_token
from tests.support.supervised_instance import running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def walked():
    with running() as instance:
        return walk(
            "policy_pages.py",
            instance,
            step="controls",
            setup_url=instance.info["setup_url"],
            basic=basic_token(instance.info["write_key"]),
        )


def test_nothing_is_refused_by_the_policy(walked):
    assert walked["words"] == []


def test_the_navigation_closes_and_opens(walked):
    assert walked["sidebar"] == [False, False, True]
    assert walked["narrow"] is False


def test_the_theme_is_switched_in_the_menu_of_the_user(walked):
    assert walked["theme"] == {"menu": False, "dark": 1}


def test_the_command_palette_closes_after_use(walked):
    assert walked["palette"] == {"closed": True}


def test_a_tab_shows_its_panel(walked):
    assert walked["tabs"] == 1


def test_all_rows_are_chosen_for_an_action(walked):
    assert walked["list"] == {
        "searched": 1,
        "idle": False,
        "ready": True,
        "wide": True,
        "all": "All 60 selected",
    }


def test_the_filters_open_and_close(walked):
    assert walked["filters"] == {"opened": True, "closed": True}


def test_a_form_is_saved_after_its_pop_up(walked):
    assert walked["form"] == "Ada"
