"""A second factor in headless Chromium: set up, kept, asked for at the next log-in."""

from __future__ import annotations

import psycopg
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password

from tests.e2e.walk import walk

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def walked(instance):
    """What a member of staff meets; no superuser, for the set-up link is another test's."""
    with psycopg.connect(instance.database_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO auth_user (username, password, is_staff, is_active, is_superuser,
                                   first_name, last_name, email, date_joined)
            VALUES ('grace', %s, true, true, false, '', '', '', now())
            """,
            [make_password(PASSWORD, hasher=PBKDF2PasswordHasher())],  # the instance's
        )
    return walk("second_factor_pages.py", instance, username="grace", password=PASSWORD)


def test_the_next_log_in_requires_a_code_and_accepts_it(instance, walked):
    base = instance.info["base_url"]

    assert walked["asked"] == f"{base}/admin/second-factor/code/?next=/admin/"
    assert walked["arrived"] == f"{base}/admin/"


def test_the_recovery_codes_can_be_copied_and_downloaded(walked):
    text = ["rudderhub", "recovery", "codes", *walked["codes"]]

    assert len(walked["codes"]) == 10
    assert walked["copied"] == text
    assert walked["downloaded"] == text


def test_its_pages_are_sound(walked):
    assert walked["qr_width"] > 0
    assert walked["unsound"] == {}
    assert walked["words"] == []
    assert walked["foreign"] == []
