from __future__ import annotations

import re

import pytest

from events.gateway import routes
from rudderhub.env import ROOT
from rudderhub.urls import ROUTES

PATHS = sorted({**ROUTES, **routes.PUBLIC_ROUTES, **routes.INTERNAL_ROUTES})


@pytest.mark.parametrize("path", PATHS)
def test_every_route_is_documented(path):
    page = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    openapi = (ROOT / "docs" / "openapi.yaml").read_text()

    assert f"`{path}`" in page
    assert f"\n  {path}:\n" in openapi


def test_nothing_else_is_documented():
    openapi = (ROOT / "docs" / "openapi.yaml").read_text()

    documented = re.findall(r"^  (/\S*):$", openapi, re.MULTILINE)

    assert sorted(path for path in documented if "{" not in path) == PATHS
