from __future__ import annotations

import pytest

from destinations.warehouse.rows.options import is_switched_off, section_json_paths


@pytest.mark.parametrize(
    "integrations",
    [
        {"POSTGRES": False},
        {"Postgres": False},
        {"POSTGRES": False, "All": True},
        {"All": False},
        {"all": False},
        {"All": False, "Google Analytics": True},
        {"All": False, "POSTGRES": None},
        {"All": False, "DATA_WAREHOUSE": {"options": {}}},
    ],
)
def test_integrations_switch_a_destination_off(integrations):
    assert is_switched_off({"integrations": integrations})


@pytest.mark.parametrize(
    "integrations",
    [
        {},
        None,
        "All",
        [False],
        {"All": True},
        {"All": None},
        {"All": "false"},
        {"POSTGRES": None},
        {"POSTGRES": "false"},
        {"POSTGRES": True, "All": False},
        {"All": False, "POSTGRES": {}},
        {"All": False, "POSTGRES": {"options": {"skipUsersTable": True}}},
        {"Google Analytics": False},
    ],
)
def test_integrations_leave_a_destination_on(integrations):
    assert not is_switched_off({"integrations": integrations})


def test_an_event_without_integrations_goes_everywhere():
    assert not is_switched_off({})


def test_a_json_path_counts_for_a_section_of_its_calls():
    paths = ("track.userProperties.user.address", "identify.userProperties.plan")

    assert section_json_paths(paths, "track_userProperties_") == {(1, "user_address")}
    assert section_json_paths(paths, "identify_userProperties_") == {(0, "plan")}
    assert section_json_paths(paths, "track_properties_") is None


@pytest.mark.parametrize("section", ["properties", "userProperties"])
def test_a_json_path_without_a_call_counts_for_both_sections_of_tracks(section):
    paths = ("user.address",)

    assert section_json_paths(paths, f"track_{section}_") == {(1, "user_address")}
    assert section_json_paths(paths, f"identify_{section}_") is None
