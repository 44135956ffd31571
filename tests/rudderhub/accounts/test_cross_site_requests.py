"""What a browser on another site, or somebody on the way, gets."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events.people.api import new_token
from tests.support.factories import make_admin, make_destination

pytestmark = pytest.mark.django_db

THIEF = "https://thieves.example"


@pytest.mark.parametrize("path", ["/admin/", "/admin/people/", "/setup/0123/"])
def test_other_sites_cannot_call_the_pages_of_the_admin(client, path):
    preflight = client.options(path, HTTP_ORIGIN=THIEF, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST")
    answer = client.get(path, HTTP_ORIGIN=THIEF)

    assert "Access-Control-Allow-Origin" not in preflight
    assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/people/", "/setup/0123/"])
def test_pages_are_not_cached_not_framed_and_send_no_referrer(client, path):
    client.force_login(make_admin())

    answer = client.get(path)

    assert "no-store" in answer["Cache-Control"]
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


def test_profiles_are_kept_by_nobody_on_the_way(client):
    _, token = new_token(make_destination(), "app")

    for header in ("", f"Bearer {token}"):
        answer = client.get("/api/v1/profiles", HTTP_AUTHORIZATION=header)
        assert answer["Cache-Control"] == "no-store"


def test_cookies_are_for_this_site_only_and_hidden_from_scripts(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_superuser("ada", password="right horse")
    browser = Client()

    browser.post("/admin/login/", {"username": "ada", "password": "right horse"})

    session = browser.cookies[settings.SESSION_COOKIE_NAME]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")


@pytest.mark.parametrize("path", ["login/", "logout/", "people/1/act/", "password_change/"])
def test_forms_of_other_sites_are_refused(path):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(make_admin())

    assert browser.post(f"/admin/{path}", {}).status_code == 403


@pytest.mark.parametrize(
    "target", ["https://thieves.example/", "//thieves.example", "javascript:x"]
)
def test_log_in_leads_to_this_site_only(client, settings, target):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_superuser("ada", password="right horse")
    form = {"username": "ada", "password": "right horse", "next": target}

    assert client.post("/admin/login/", form).url == "/admin/"
