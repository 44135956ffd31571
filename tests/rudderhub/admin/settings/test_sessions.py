from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rudderhub.accounts.session_store import browser_name
from tests.support.factories import make_admin

pytestmark = pytest.mark.django_db

LIST = "/admin/sessions/session/"


def browser_of(user, **meta):
    browser = Client(**meta)
    browser.force_login(user)
    return browser


def member(name):
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name="Read-only"))
    return user


def is_in(browser):
    return browser.get("/admin/").status_code == 200


def sessions_page(browser):
    return browser.get(LIST).content.decode()


def key_of(browser):
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def end(browser, session):
    return browser.post(f"{LIST}{session.pk}/delete/", {"post": "yes"})


def sessions_of(user):
    return [s for s in Session.objects.all() if s.get_decoded()["_auth_user_id"] == str(user.pk)]


@pytest.fixture
def ann():
    return member("ann")


def test_nothing_that_logs_in_is_stored_or_shown(ann):
    browser, admin = browser_of(ann), browser_of(make_admin())
    (stored,) = sessions_of(ann)

    page = sessions_page(admin)
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = stored.pk

    assert stored.pk != key_of(browser)
    assert key_of(browser) not in page
    assert key_of(admin) not in page
    assert is_in(browser)
    assert not is_in(thief)


def test_a_session_shows_its_start_address_and_browser(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_superuser("ada", password="right horse")
    browser = Client(REMOTE_ADDR="203.0.113.4", HTTP_USER_AGENT="Netscape <4>")

    browser.post("/admin/login/", {"username": "ada", "password": "right horse"})

    page = sessions_page(browser)
    for text in ("203.0.113.4", "Netscape &lt;4&gt;", "this browser", "0 s ago"):
        assert text in page


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36",
            "Chrome, Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", "Edg, Windows"),
        (
            "Mozilla/5.0 (iPhone; like Mac OS X) Version/18 Safari/604",
            "Safari, iPhone",
        ),
        ("curl/8.5", "curl/8.5"),
    ],
)
def test_a_browser_is_named_in_a_few_words(agent, name):
    assert browser_name(agent) == name


def test_an_admin_ends_the_session_of_another_user_and_the_audit_log_names_the_user(ann):
    browser, boss = browser_of(ann), make_admin()

    end(browser_of(boss), *sessions_of(ann))

    assert not is_in(browser)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.get_change_message()) == (boss, "Ended the session of ann.")


def test_many_sessions_take_as_many_queries_as_one(ann, django_assert_num_queries):
    admin = browser_of(make_admin())
    with CaptureQueriesContext(connection) as of_one:
        admin.get(LIST)
    browser_of(ann)
    browser_of(member("bob"))

    with django_assert_num_queries(len(of_one)):
        page = sessions_page(admin)

    assert "bob" in page


def test_several_are_ended_at_once(ann):
    browsers, admin = [browser_of(ann), browser_of(ann)], browser_of(make_admin())
    chosen = [session.pk for session in sessions_of(ann)]

    form = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    admin.post(LIST, form)

    assert [is_in(session) for session in [*browsers, admin]] == [False, False, True]


def test_everybody_sees_and_ends_ones_own_sessions_and_no_others(ann):
    here, elsewhere, bob = browser_of(ann), browser_of(ann), member("bob")
    of_bob = browser_of(bob)
    own, other = sessions_of(ann)

    page = sessions_page(here)
    navigation = here.get("/admin/").content.decode()
    end(here, *sessions_of(bob))
    end(elsewhere, own)
    end(elsewhere, other)

    assert page.count("this browser") == 1
    assert "ann" in page
    assert "bob" not in page
    assert f'href="{LIST}"' in navigation
    assert is_in(of_bob)
    assert not is_in(here)
    assert not is_in(elsewhere)


def test_a_new_password_ends_the_sessions_of_the_old_one(ann):
    browser = browser_of(ann)

    ann.set_password("another horse")
    ann.save()

    assert not is_in(browser)


def test_logging_in_changes_the_key_that_the_browser_had(ann, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ann.set_password("right horse")
    ann.save()
    browser = Client()
    session = browser.session
    session["planted"] = "by a thief"
    session.save()
    planted = key_of(browser)

    browser.post("/admin/login/", {"username": "ann", "password": "right horse"})
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = planted

    assert is_in(browser)
    assert not is_in(thief)
