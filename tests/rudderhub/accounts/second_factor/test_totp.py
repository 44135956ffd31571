from __future__ import annotations

import base64

import pytest

from rudderhub.accounts.second_factor.totp import STEP_SECONDS, matching_step, new_secret

SECRET = base64.b32encode(b"12345678901234567890").decode()
BEGIN, CODE = 1111111080, "081804"  # the code of the thirty seconds from then on


@pytest.mark.parametrize(
    ("at_seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_of_the_rfc_match_their_time(at_seconds, code):
    assert matching_step(SECRET, code, at_seconds) == at_seconds // STEP_SECONDS


@pytest.mark.parametrize("at_seconds", [BEGIN - 30, BEGIN, BEGIN + 59.9])
def test_a_clock_may_be_off_by_a_step(at_seconds):
    assert matching_step(SECRET, CODE, at_seconds) == BEGIN // STEP_SECONDS


@pytest.mark.parametrize("at_seconds", [BEGIN - 30.1, BEGIN + 60])
def test_a_code_of_another_time_does_not_match(at_seconds):
    assert matching_step(SECRET, CODE, at_seconds) is None


@pytest.mark.parametrize("code", ["287 082", " 287-082\n"])
def test_spaces_and_dashes_do_not_count(code):
    assert matching_step(SECRET, code, 59) == 1


@pytest.mark.parametrize("code", ["", "28708", "2870820", "٢٨٧٠٨٢", "287082é"])
def test_anything_else_is_wrong(code):
    assert matching_step(SECRET, code, 59) is None


def test_a_secret_is_new_each_time_and_has_160_bits():
    first, second = new_secret(), new_secret()

    assert first != second
    assert [len(base64.b32decode(secret)) for secret in (first, second)] == [20, 20]
