"""The page about the architecture names rooms and functions that exist."""

from __future__ import annotations

import re
import tomllib
from pydoc import locate

import pytest

from rudderhub.env import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
APPS = ("rudderhub", "events", "destinations", "sources")
WAY = re.findall(r"^\| \d+ \| `([^`]+)`", PAGE, re.MULTILINE)
PICTURE = PAGE.split("```")[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
NO_ROOMS = {"management", "migrations", "templatetags"}


def rooms(app):
    folders = [path.parent for path in (ROOT / app).glob("*/__init__.py")]
    return [folder.name for folder in folders if folder.name not in NO_ROOMS]


def layers(container):
    (contract,) = [contract for contract in CONTRACTS if contract.get("containers") == [container]]
    return [name for line in contract["layers"] for name in line.split(" | ")]


@pytest.mark.parametrize("name", WAY)
def test_each_step_of_an_event_is_a_function(name):
    assert callable(locate(name))


@pytest.mark.parametrize("app", APPS)
def test_the_picture_shows_each_room_of_an_app(app):
    part = PICTURE[PICTURE.index(f"{app}/") :]

    assert [room for room in rooms(app) if f"{room}/" not in part] == []


@pytest.mark.parametrize("app", APPS)
def test_each_app_has_layers_for_all_of_its_rooms(app):
    assert set(rooms(app)) <= set(layers(app))


def test_the_picture_shows_the_rooms_of_events_in_the_order_of_their_layers():
    order = [name for name in layers("events") if name in rooms("events")]

    assert sorted(order, key=lambda room: PICTURE.index(f"{room}/ ")) == order
