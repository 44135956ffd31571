from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from rudderhub.accounts.first_admin import setup_token
from tests.support.factories import make_admin

FORM = {
    "username": "ada",
    "email": "ada@example.com",
    "password1": "a long phrase 77",
    "password2": "a long phrase 77",
}


@pytest.mark.django_db
def test_the_set_up_link_creates_an_admin_and_logs_in(client):
    response = client.post(f"/setup/{setup_token()}/", FORM, follow=True)

    assert response.redirect_chain == [("/admin/", 302)]
    assert response.context["user"].username == "ada"
    user = User.objects.get()
    assert (user.is_superuser, user.is_staff, user.email) == (True, True, "ada@example.com")
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (user, "ada")
    assert entry.get_change_message() == "Created the first admin with the set-up link."


@pytest.mark.django_db
def test_the_set_up_link_works_once(client):
    token = setup_token()
    client.post(f"/setup/{token}/", FORM)

    response = Client().post(f"/setup/{token}/", FORM | {"username": "eve"})

    assert response.status_code == 404
    assert "changepassword" in response.content.decode()
    assert [user.username for user in User.objects.all()] == ["ada"]


@pytest.mark.django_db
def test_a_wrong_token_is_not_found_and_says_what_to_do(client):
    response = client.get("/setup/0123/")

    assert response.status_code == 404
    assert "manage.py info" in response.content.decode()


@pytest.mark.django_db
def test_a_token_that_is_not_ascii_is_not_found(client):
    assert client.get("/setup/ключ/").status_code == 404


@pytest.mark.django_db
def test_the_form_is_shown_and_a_weak_password_refused(client):
    url = f"/setup/{setup_token()}/"

    shown = client.get(url)
    refused = client.post(url, FORM | {"password1": "12345678", "password2": "12345678"})

    assert (shown.status_code, refused.status_code) == (200, 200)
    assert "too common" in refused.content.decode()
    assert "12345678" not in refused.content.decode()
    assert not User.objects.exists()


@pytest.mark.django_db
def test_the_form_is_refused_without_its_csrf_token():
    response = Client(enforce_csrf_checks=True).post(f"/setup/{setup_token()}/", FORM)

    assert response.status_code == 403
    assert not User.objects.exists()


@pytest.mark.django_db
def test_there_is_no_token_once_an_admin_exists():
    make_admin()

    assert setup_token() is None


@pytest.mark.django_db
def test_there_is_no_token_while_the_secret_key_is_the_public_one(settings):
    settings.SECRET_KEY = "not-set-up-yet: make run writes a generated key"

    assert setup_token() is None


@pytest.mark.django_db(transaction=True)
def test_two_submissions_at_once_create_one_admin():
    url = f"/setup/{setup_token()}/"

    def submit(name: str) -> int:
        try:
            return Client().post(url, FORM | {"username": name}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(submit, ("ann", "bob", "cyd", "dan")))

    assert answers == [302, 404, 404, 404]
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_the_overview_of_a_fresh_instance_says_what_to_do_next(client):
    client.force_login(make_admin())

    page = client.get("/admin/").content.decode()

    assert "Add a source. It comes with a write key." in page
    assert "No connections yet." in page


@pytest.mark.django_db
def test_the_login_page_says_where_the_set_up_link_is(client):
    before = client.get("/admin/login/").content.decode()
    make_admin()
    after = client.get("/admin/login/").content.decode()

    assert "manage.py info" in before
    assert "manage.py info" not in after


@pytest.mark.django_db
def test_pages_name_no_foreign_host(client):
    client.force_login(make_admin())

    page = client.get("/admin/").content.decode()

    assert "https://" not in page
    assert "//cdn" not in page
