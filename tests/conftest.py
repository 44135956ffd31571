from __future__ import annotations

import hypothesis
import pytest
from django.test import override_settings

from tests.support.database import empty_few_tables
from tests.support.instance import RunningInstance

# An example takes longer on a machine with other work to do; each test has a limit of its own
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    empty_few_tables()


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes():
    """A hash that is meant to take long takes half a second."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def instance():
    """A running instance that the whole session shares; leave its parts running."""
    running = RunningInstance()
    try:
        running.start()
        yield running
    finally:
        running.stop()
