"""A second factor in headless Chromium: set up, kept, asked for at the next log-in."""

from __future__ import annotations

import json
import os
import subprocess

import psycopg
import pytest
from django.contrib.auth.hashers import make_password

from rudderhub.env import ROOT
from tests.e2e.test_admin import AXE, FOLDER, OWN_PYTHON

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
            [make_password(PASSWORD)],
        )
    job = {"base_url": instance.info["base_url"], "folder": str(FOLDER), "axe": str(AXE)}
    done = subprocess.run(  # noqa: S603
        [
            OWN_PYTHON,
            "tests/e2e/second_factor_pages.py",
            json.dumps({**job, "username": "grace", "password": PASSWORD}),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_next_log_in_asks_for_a_code_and_takes_it(instance, walked):
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
