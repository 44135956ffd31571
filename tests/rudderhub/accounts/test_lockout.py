from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, RequestFactory

from rudderhub.accounts.lockout import FAILURES, FAILURES_IN_ALL
from sources.client_address import verified_address

pytestmark = pytest.mark.django_db

PASSWORD = "right horse"
THIEF, OFFICE = "198.51.100.9", "203.0.113.4"


@pytest.fixture(autouse=True)
def ada(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    cache.clear()
    yield User.objects.create_superuser("ada", password="right horse")
    cache.clear()


def can_log_in(password=PASSWORD, username="ada", address=THIEF, **headers):
    request = RequestFactory().post("/admin/login/", REMOTE_ADDR=address, **headers)
    return authenticate(request, username=username, password=password) is not None


def log_in(browser, password=PASSWORD):
    form = {"username": "ada", "password": password}
    return browser.post("/admin/login/?next=/admin/", form).status_code == 302


def guess(times, address=THIEF, **more):
    for _ in range(times):
        assert not can_log_in("wrong", address=address, **more)


def test_a_name_is_locked_out_at_an_address_after_repeated_failures():
    guess(FAILURES)

    assert not can_log_in()
    assert can_log_in(address=OFFICE)


def test_the_page_refuses_the_right_password_then(client):
    guess(FAILURES - 1, address="127.0.0.1")

    assert [log_in(client, word) for word in ("wrong", "right horse")] == [False, False]
    assert "_auth_user_id" not in client.session


def test_a_few_failures_lock_nobody_out():
    guess(FAILURES - 1)

    assert can_log_in()


def test_a_name_is_spelt_in_small_and_capital_letters_alike():
    guess(FAILURES - 1)
    guess(1, username="ADA")

    assert not can_log_in()


def test_one_address_cannot_lock_a_user_out_elsewhere_however_long_it_tries():
    guess(FAILURES_IN_ALL + FAILURES)

    assert can_log_in(address=OFFICE)


def test_an_address_that_tries_many_names_is_locked_out():
    for number in range(FAILURES_IN_ALL):
        guess(1, username=f"user-{number}")

    assert not can_log_in()


def guess_from_many_addresses():
    for number in range(FAILURES_IN_ALL):
        guess(1, address=f"198.51.100.{number}")


def test_a_name_that_many_addresses_try_is_locked_out():
    guess_from_many_addresses()

    assert not can_log_in(address=OFFICE)


def test_others_do_not_lock_a_user_out_where_the_user_was_before():
    log_in(Client(REMOTE_ADDR=OFFICE))

    guess_from_many_addresses()

    assert can_log_in(address=OFFICE)


def test_neighbours_in_an_ipv6_network_are_one_address():
    for number in range(FAILURES):
        guess(1, address=f"2001:db8:1:2::{number + 1:x}")

    assert not can_log_in(address="2001:db8:1:2:ffff::1")
    assert can_log_in(address="2001:db8:1:3::1")


def test_what_a_client_says_of_its_address_counts_for_nothing():
    for number in range(FAILURES):
        forwarded = f"192.0.2.{number}, {THIEF}"
        guess(1, address="127.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)

    assert not can_log_in(address="127.0.0.1", HTTP_X_FORWARDED_FOR=f"192.0.2.99, {THIEF}")
    assert can_log_in(address="127.0.0.1", HTTP_X_FORWARDED_FOR=f"{THIEF}, {OFFICE}")


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        (OFFICE, "", OFFICE),
        (OFFICE, THIEF, OFFICE),
        ("127.0.0.1", THIEF, THIEF),
        ("127.0.0.1", f"192.0.2.1, {THIEF}, 10.0.0.7", THIEF),
        ("10.0.0.7", "192.168.1.5", "192.168.1.5"),
        ("127.0.0.1", f"{THIEF}, nonsense", "127.0.0.1"),
    ],
)
def test_an_address_is_believed_as_far_as_trusted_proxies_saw_it(peer, header, address):
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=header)

    assert verified_address(request.META) == address


def test_ones_own_password_is_changed_with_the_old_one_and_noted(client, ada):
    client.force_login(ada)
    new = {"new_password1": "another horse 7", "new_password2": "another horse 7"}

    refused = client.post("/admin/password_change/", {"old_password": "wrong", **new})
    changed = client.post("/admin/password_change/", {"old_password": "right horse", **new})

    assert "Your old password was entered incorrectly" in refused.content.decode()
    assert changed.url == "/admin/password_change/done/"
    assert can_log_in("another horse 7")
    assert LogEntry.objects.get().get_change_message() == "Changed the password."


@pytest.mark.parametrize("page", ["second-factor/password/", "password_change/"])
def test_an_open_session_is_no_way_to_guess_its_password(client, ada, page):
    client.force_login(ada)
    form = {"password": "wrong", "old_password": "wrong", "new_password1": "", "new_password2": ""}
    for _ in range(FAILURES):
        client.post(f"/admin/{page}", form)

    assert not can_log_in(address="127.0.0.1")
