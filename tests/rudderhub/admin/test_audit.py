from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User

from destinations.interface import DestinationError
from events.workers.errors import public_error_text
from tests.support.factories import make_admin, make_connection

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    user = make_admin()
    client.force_login(user)
    return user


def lines():
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def save(client, path, **changes):
    """The form of a page as it stands, with changes."""
    form = client.get(path).context["adminform"].form
    held = {
        name: form[name].value() for name in form.fields if form[name].value() not in (None, "")
    }
    response = client.post(path, {**held, **changes})
    assert response.status_code == 302, response.context["adminform"].errors


def test_a_change_of_roles_and_permissions_is_logged_with_their_names(client, ada):
    ann = User.objects.create_user("ann", is_staff=True)
    ann.groups.add(Group.objects.get(name="Analyst"))
    roles = [Group.objects.get(name=name).pk for name in ("Admin", "Read-only")]

    save(client, f"/admin/auth/user/{ann.pk}/change/", groups=roles, is_superuser="on")

    assert "Superuser status (on)" in lines()[0]
    assert "Groups (added Admin, Read-only; removed Analyst)" in lines()[0]


def test_a_change_of_a_role_is_logged_with_its_permissions(client, ada):
    role = Group.objects.create(name="Support")
    right = Permission.objects.get(codename="view_personal_data")

    save(client, f"/admin/auth/group/{role.pk}/change/", permissions=[right.pk])

    assert lines() == [f"Changed Permissions (added {right})."]


def test_asking_for_a_load_is_noted(client, ada):
    connection = make_connection()

    client.post(f"/admin/destinations/connection/{connection.pk}/load/")

    assert lines() == ["Requested a load."]


def test_nobody_adds_changes_or_deletes_a_line(client, ada):
    LogEntry.objects.log_actions(ada.pk, [ada], 2, "Did it.")
    pk = LogEntry.objects.get().pk
    form = {"change_message": "Did nothing.", "post": "yes"}

    answers = [
        client.post(f"/admin/admin/logentry/{path}", form).status_code
        for path in ("add/", f"{pk}/change/", f"{pk}/delete/")
    ]
    chosen = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    client.post("/admin/admin/logentry/", chosen)

    assert answers == [403, 403, 403]
    assert lines() == ["Did it."]


def test_a_user_with_lines_cannot_be_deleted_but_is_logged_out_when_not_active(client, ada):
    ann = User.objects.create_superuser("ann")
    LogEntry.objects.log_actions(ann.pk, [ann], 2, "Did it.")
    browser = client.__class__()
    browser.force_login(ann)
    chosen = {"action": "delete_selected", "_selected_action": [ann.pk], "post": "yes"}

    client.post(f"/admin/auth/user/{ann.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/user/", chosen)
    User.objects.filter(pk=ann.pk).update(is_active=False)

    assert lines() == ["Did it."]
    assert browser.get("/admin/").status_code == 302


def test_an_unexpected_error_reveals_no_value():
    assert public_error_text(KeyError("ann@x.example")) == "KeyError: …"
    assert public_error_text(DestinationError("no room")) == "no room"


def test_only_rights_to_what_has_a_page_are_offered(client, ada):
    field = client.get("/admin/auth/group/add/").context["adminform"].form.fields["permissions"]

    kinds = {permission.content_type.model for permission in field.queryset}

    assert {"event", "source", "quarantined", "logentry"} <= kinds
    assert kinds.isdisjoint({"standing", "sdkseen", "minutecount", "authenticator"})


def test_a_password_that_an_admin_sets_for_somebody_is_noted(client, ada):
    ann = User.objects.create_user("ann", is_staff=True)
    new = {"password1": "another horse 7", "password2": "another horse 7"}

    client.post(f"/admin/auth/user/{ann.pk}/password/", {**new, "usable_password": "true"})

    ann.refresh_from_db()
    assert ann.check_password("another horse 7")
    assert lines() == ["Changed password."]
