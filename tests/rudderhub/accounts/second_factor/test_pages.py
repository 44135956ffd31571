from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.contrib.admindocs.views import extract_views_from_urlpatterns
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import get_resolver

from rudderhub.accounts.first_admin import setup_token
from rudderhub.accounts.second_factor.codes import FAILURES, LOCKED_SECONDS
from tests.support.totp import totp

pytestmark = pytest.mark.django_db

PASSWORD = "right horse battery"
HOME = "/admin/second-factor/"
SET_UP = f"{HOME}set-up/"
CODE = f"{HOME}code/"
NOON = "2026-11-21T12:00:00Z"


@pytest.fixture
def clock(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    cache.clear()
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock
    cache.clear()


@pytest.fixture
def ada(clock):
    return User.objects.create_superuser("ada", password=PASSWORD)


@pytest.fixture
def secret(ada):
    """Of ada's authenticator app, set up in a browser of its own; the next code is a fresh one."""
    return enrol(logged_in("ada"))[0]


def log_in(browser, username="ada", password=PASSWORD):
    answer = {"username": username, "password": password}
    return browser.post("/admin/login/?next=/admin/auth/user/", answer)


def logged_in(username, password=PASSWORD):
    browser = Client()
    assert log_in(browser, username, password).status_code == 302
    return browser


def enrol(browser, password=PASSWORD):
    """The secret and the recovery codes that the pages show."""
    browser.post(f"{HOME}password/?next={SET_UP}", {"password": password})
    secret = re.search(r'data-copy="([A-Z2-7]+)"', browser.get(SET_UP).content.decode())[1]
    shown = browser.post(SET_UP, {"code": totp(secret)}).content.decode()
    return secret, re.findall(r"<code>(\d{8})</code>", shown)


def enter(browser, code, after="/admin/"):
    return browser.post(f"{CODE}?next={after}", {"code": code})


def is_in(browser):
    return browser.get("/admin/").status_code == 200


def audit_lines():
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("id")]


def test_a_qr_code_a_key_and_ten_recovery_codes_are_shown(ada):
    browser = logged_in("ada")
    browser.post(f"{HOME}password/?next={SET_UP}", {"password": PASSWORD})

    page = browser.get(SET_UP)
    secret, codes = enrol(browser)

    assert 'src="data:image/svg+xml;base64,' in page.content.decode()
    assert "otpauth://totp/ada%40testserver?secret=" in page.content.decode()
    assert "img-src 'self' data:" in page["Content-Security-Policy"]
    assert len(secret) == 32
    assert len(set(codes)) == 10
    assert is_in(browser)


def test_recovery_codes_are_shown_once(ada):
    browser = logged_in("ada")
    _, codes = enrol(browser)

    again = browser.get(HOME).content.decode() + browser.get(SET_UP, follow=True).content.decode()

    assert codes[0] not in again
    assert "<strong>10</strong>" in again


def test_setting_up_needs_the_password_again(ada):
    browser = logged_in("ada")

    asked = browser.get(SET_UP)
    wrong = browser.post(f"{HOME}password/?next={SET_UP}", {"password": "wrong"})

    assert unquote(asked.url) == f"{HOME}password/?next={SET_UP}"
    assert "Incorrect password" in wrong.content.decode()
    assert browser.get(SET_UP).status_code == 302


def test_a_slow_set_up_requires_the_password_and_continues(ada, clock):
    browser = logged_in("ada")
    browser.post(f"{HOME}password/?next={SET_UP}", {"password": PASSWORD})
    key = r'data-copy="([A-Z2-7]+)"'
    secret = re.search(key, browser.get(SET_UP).content.decode())[1]
    clock.shift(600)

    asked = browser.post(SET_UP, {"code": totp(secret)})
    codes = browser.post(asked.url, {"password": PASSWORD})

    assert asked.url.startswith(f"{HOME}password/")
    assert "Your recovery codes" in codes.content.decode()
    assert Authenticator.objects.filter(user=ada).count() == 2


def test_a_wrong_code_sets_nothing_up(ada):
    browser = logged_in("ada")
    browser.post(f"{HOME}password/?next={SET_UP}", {"password": PASSWORD})
    browser.get(SET_UP)

    answer = browser.post(SET_UP, {"code": "000000"})

    assert "This code is wrong" in answer.content.decode()
    assert not Authenticator.objects.exists()


def test_log_in_requires_the_code_and_continues_to_the_requested_page(secret, clock):
    browser = Client()
    clock.shift(30)

    password = log_in(browser)
    asked = browser.get(password.url)
    entered = enter(browser, totp(secret), asked.url.partition("next=")[2])

    assert asked.url == f"{CODE}?next=/admin/auth/user/"
    assert entered.url == "/admin/auth/user/"
    assert browser.get(entered.url).status_code == 200


def test_the_way_on_stays_on_this_site(secret, clock):
    clock.shift(30)
    browser = logged_in("ada")

    entered = enter(browser, totp(secret), "https://thieves.example/admin/")

    assert entered.url == "/admin/"


def pages():
    """Each route under /admin/, with something in place of its arguments."""
    found = extract_views_from_urlpatterns(get_resolver().url_patterns)
    routes = {re.sub(r"<[^>]+>", "1", route) for _, route, *_ in found}
    return sorted(f"/{each}" for each in routes if each.startswith("admin/") and "(" not in each)


def test_no_page_opens_without_the_code(secret):
    browser = logged_in("ada")
    closed = [path for path in pages() if path not in {CODE, "/admin/logout/"}]

    answers = {path: browser.get(path) for path in closed}

    assert len(answers) > 100
    assert {path: each.status_code for path, each in answers.items()} == dict.fromkeys(answers, 302)
    assert {each.url.partition("?")[0] for each in answers.values()} == {CODE}


def test_nothing_is_changed_without_the_code(secret):
    browser = logged_in("ada")

    answer = browser.post("/admin/auth/group/add/", {"name": "thieves"})

    assert answer.url == f"{CODE}?next=/admin/"
    assert not Group.objects.filter(name="thieves").exists()


def test_an_earlier_session_must_pass_the_second_factor(ada, clock):
    old, new = logged_in("ada"), logged_in("ada")
    secret, _ = enrol(new)
    clock.shift(30)

    before = is_in(old)
    enter(old, totp(secret))

    assert (before, is_in(old), is_in(new)) == (False, True, True)


def test_one_can_leave_instead_of_entering_a_code(secret):
    browser = logged_in("ada")

    browser.post("/admin/logout/")

    assert "_auth_user_id" not in browser.session


def test_the_admin_of_the_set_up_link_must_enter_a_code_after_enrolment(clock):
    browser = Client()
    form = {"username": "first", "email": "", "password1": PASSWORD, "password2": PASSWORD}
    browser.post(f"/setup/{setup_token()}/", form)
    enrol(browser)

    again = logged_in("first")

    assert not is_in(again)
    assert again.get("/admin/").url == f"{CODE}?next=/admin/"


def test_a_code_works_once(secret, clock):
    clock.shift(60)
    first, second = logged_in("ada"), logged_in("ada")
    enter(first, totp(secret))

    refused = enter(second, totp(secret))
    older = enter(second, totp(secret, -1))
    cache.clear()  # not the cache remembers it
    enter(second, totp(secret))

    assert is_in(first)
    assert "has already been used" in refused.content.decode()
    assert "has already been used" in older.content.decode()
    assert not is_in(second)


def test_the_code_of_the_set_up_does_not_log_in(secret):
    browser = logged_in("ada")

    enter(browser, totp(secret))

    assert not is_in(browser)


@pytest.mark.django_db(transaction=True)
def test_of_several_log_ins_with_one_code_at_once_one_gets_in(secret, clock):
    clock.shift(60)
    browsers = [logged_in("ada") for _ in range(4)]

    def submit(browser):
        try:
            return enter(browser, totp(secret)).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(submit, browsers))

    assert answers == [200, 200, 200, 302]


@pytest.mark.parametrize(("steps", "opens"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_half_a_minute(secret, clock, steps, opens):
    clock.shift(300)
    browser = logged_in("ada")

    enter(browser, totp(secret, steps))

    assert is_in(browser) is opens


def test_a_recovery_code_works_once_and_its_use_is_reported(ada):
    _, codes = enrol(logged_in("ada"))
    first, second = logged_in("ada"), logged_in("ada")

    enter(first, f"{codes[3][:4]} {codes[3][4:]}")
    enter(second, codes[3])

    assert "You used a recovery code; 9 left." in first.get("/admin/").content.decode()
    assert not is_in(second)
    assert audit_lines()[-1] == "Used a recovery code; 9 left."


def test_new_recovery_codes_end_the_old_ones(ada):
    browser = logged_in("ada")
    _, old = enrol(browser)
    enter(browser, old[0], f"{HOME}new-codes/")

    shown = browser.post(f"{HOME}new-codes/").content.decode()
    new = re.findall(r"<code>(\d{8})</code>", shown)
    with_old, with_new = logged_in("ada"), logged_in("ada")
    enter(with_old, old[1])
    enter(with_new, new[1])

    assert len(new) == 10
    assert (is_in(with_old), is_in(with_new)) == (False, True)
    assert "Created new recovery codes." in audit_lines()


def test_guessing_ends_after_ten_wrong_codes_even_without_the_cache(secret, clock):
    browser = logged_in("ada")
    clock.shift(60)
    for _ in range(FAILURES):
        enter(browser, "000000")
        cache.clear()

    refused = enter(browser, totp(secret))
    clock.shift(LOCKED_SECONDS)
    enter(browser, totp(secret))

    assert "Too many wrong codes" in refused.content.decode()
    assert is_in(browser)


def test_after_the_wait_there_is_one_guess_at_a_time(secret, clock):
    browser = logged_in("ada")
    for _ in range(FAILURES):
        enter(browser, "000000")
    clock.shift(LOCKED_SECONDS)

    enter(browser, "000000")
    enter(browser, totp(secret))

    assert not is_in(browser)


def test_a_right_code_starts_the_count_again(secret, clock):
    clock.shift(60)
    browser = logged_in("ada")
    for _ in range(FAILURES - 1):
        enter(browser, "000000")
    enter(browser, totp(secret))
    other = logged_in("ada")
    clock.shift(60)
    enter(other, "000000")

    enter(other, totp(secret))

    assert is_in(other)


def test_removal_needs_a_code_and_then_the_password_logs_in(ada, clock):
    browser = logged_in("ada")
    secret, _ = enrol(browser)
    clock.shift(600)

    asked = browser.get(f"{HOME}remove/")
    enter(browser, totp(secret), f"{HOME}remove/")
    browser.post(f"{HOME}remove/")

    assert unquote(asked.url) == f"{CODE}?next={HOME}remove/"
    assert not Authenticator.objects.exists()
    assert is_in(logged_in("ada"))
    assert audit_lines() == ["Set up a second factor.", "Removed the second factor."]


def test_secrets_are_encrypted_at_rest_and_never_logged(ada, clock, caplog):
    caplog.set_level(logging.DEBUG)
    browser = logged_in("ada")
    browser.post(f"{HOME}password/?next={SET_UP}", {"password": PASSWORD})
    page = browser.get(SET_UP).content.decode()
    pending = re.search(r'data-copy="([A-Z2-7]+)"', page)[1]
    held = [str(each.get_decoded()) for each in Session.objects.all()]

    secret, codes = enrol(browser)
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert pending == secret
    assert pending not in str(held)
    assert secret not in stored
    assert codes[0] not in stored
    assert secret not in caplog.text
    assert "mfa.totp.secret" not in browser.session


def test_a_lost_encryption_key_is_named(secret, settings):
    settings.ENCRYPTION_KEYS = ["MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]

    answer = enter(logged_in("ada"), "123456")

    assert "RUDDERHUB_ENCRYPTION_KEYS cannot decrypt" in answer.content.decode()


def test_an_admin_resets_anothers_second_factor(secret):
    boss = User.objects.create_user("boss", password=PASSWORD, is_staff=True)
    boss.groups.add(Group.objects.get(name="Admin"))
    browser = logged_in("boss")
    ada = User.objects.get(username="ada")
    url = f"/admin/auth/user/{ada.pk}/reset-second-factor/"

    shown = browser.get(f"/admin/auth/user/{ada.pk}/change/").content.decode()
    asked = browser.get(url).content.decode()
    browser.post(url)

    assert url in shown
    assert "Reset the second factor of ada?" in asked
    assert is_in(logged_in("ada"))
    entry = LogEntry.objects.order_by("id").last()
    assert (entry.user, entry.object_repr) == (boss, "ada")
    assert entry.get_change_message() == "Reset the second factor."


def test_nobody_resets_ones_own_that_way(ada):
    browser = logged_in("ada")
    enrol(browser)

    answer = browser.post(f"/admin/auth/user/{ada.pk}/reset-second-factor/")

    assert answer.status_code == 403
    assert Authenticator.objects.exists()


def test_a_reset_requires_the_permission_to_change_users(secret):
    analyst = User.objects.create_user("eve", password=PASSWORD, is_staff=True)
    analyst.groups.add(Group.objects.get(name="Analyst"))
    ada = User.objects.get(username="ada")

    answer = logged_in("eve").post(f"/admin/auth/user/{ada.pk}/reset-second-factor/")

    assert answer.status_code == 403
    assert Authenticator.objects.exists()


def test_a_command_resets_it_for_a_lone_admin(secret, capsys):
    call_command("reset_second_factor", "ada")

    assert is_in(logged_in("ada"))
    assert audit_lines()[-1] == "Reset the second factor from the command line."
    assert "with only the password" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_the_command_says_when_there_is_nothing_to_reset(ada, name):
    with pytest.raises(CommandError, match=r"ada has no second factor|there is no user 'nobody'"):
        call_command("reset_second_factor", name)


def test_while_it_is_required_all_set_one_up_before_anything_else(ada, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    browser = logged_in("ada")

    led = browser.get("/admin/auth/user/")
    shown = browser.get(led.url, follow=True).content.decode()
    refused = browser.post("/admin/auth/group/add/", {"name": "thieves"})
    enrol(browser)

    assert led.url == f"{SET_UP}?next=/admin/auth/user/"
    assert "Log out" in shown
    assert "Cancel" not in shown
    assert refused.url == f"{SET_UP}?next=/admin/"
    assert not Group.objects.filter(name="thieves").exists()
    assert is_in(browser)


def test_the_lists_of_users_and_sessions_show_it(secret, clock):
    waiting, watching = logged_in("ada"), Client()
    User.objects.create_superuser("boss", password=PASSWORD)
    log_in(watching, "boss")

    users = watching.get("/admin/auth/user/").content.decode()
    sessions = watching.get("/admin/sessions/session/").content.decode()

    assert re.findall(r">(on|off)</span>", users) == ["on", "off"]
    assert "waiting for a code" in sessions
    assert not is_in(waiting)


def test_secrets_cannot_be_edited_in_the_admin(ada):
    browser = logged_in("ada")

    assert browser.get("/admin/mfa/authenticator/").status_code == 404
    assert browser.get("/admin/account/emailaddress/").status_code == 404
    assert "email address" not in browser.get("/admin/auth/group/add/").content.decode()


@pytest.mark.parametrize(
    "path",
    ["signup/", "password/reset/", "login/", "login/code/", "email/", "social/connections/"],
)
def test_the_librarys_other_pages_are_not_there(client, path):
    assert client.get(f"/accounts/{path}").status_code == 404
    assert client.get(f"/admin/second-factor/{path}").status_code == 302  # the admin's log-in
