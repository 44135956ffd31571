from __future__ import annotations

import pytest

from rudderhub.env import ROOT
from tests.e2e.recorder import Recorder
from tests.e2e.rows import Warehouse
from tests.support.supervised_instance import running


def pytest_collection_modifyitems(items):
    """A walk through the pages may take ten minutes, an instance for it one and a half."""
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def instance():
    with running(SDK_DIR=str(ROOT / "var" / "e2e" / "sdk")) as instance:
        yield instance


@pytest.fixture
def recorder(instance):
    with Recorder(instance.info["base_url"]) as recorder:
        yield recorder


@pytest.fixture
def sdk_warehouse(instance):
    warehouse = Warehouse(instance.info)
    yield warehouse
    warehouse.close()
