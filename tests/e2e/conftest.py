from __future__ import annotations

import pytest

from rudderhub.env import ROOT
from tests.e2e.recorder import Recorder
from tests.e2e.rows import Warehouse
from tests.instance import running


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
