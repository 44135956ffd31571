from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from destinations.models import Erasure, IdentityCheck, ProfileToken
from events import log, people
from tests.factories import make_admin
from tests.identities import anonymous, event, user
from tests.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url, {"blocked": True})
    hub.load(
        event(1, "identify", anonymousId="tablet", userId="ann", traits={"email": "ann@x.example"}),
    )
    hub.load(event(2, anonymousId="phone", userId="bob", event="Looked"))
    hub.load(event(3, anonymousId="tablet", userId="bob", event="Looked"))
    yield hub
    people.close_kept()
    log.close_writer()


@pytest.fixture
def admin(client):
    client.force_login(make_admin())
    return client


def act(hub, client, **data):
    return client.post(f"/admin/people/{hub.destination.pk}/act/", data)


def test_a_profile_is_found_by_any_identifier(hub, admin):
    page = admin.get("/admin/people/", {"q": "phone", "destination": hub.destination.pk})

    assert str(hub.profile("ann")) in page.content.decode()


def test_a_search_without_result_says_so(hub, admin):
    page = admin.get("/admin/people/", {"q": "nobody"}).content.decode()

    assert "No profile has this identifier" in page


def test_a_profile_shows_traits_links_events_and_the_path_to_another(hub, admin):
    url = f"/admin/people/{hub.destination.pk}/{hub.profile('ann')}/"

    page = admin.get(url, {"with": "phone"}).content.decode()

    for text in ("ann@x.example", "m1", "m3", "looked", "Former ids", "tablet", "joined"):
        assert text in page


def test_a_cut_is_shown_confirmed_and_kept_in_the_history(hub, admin):
    link = {"type_a": "anonymous_id", "value_a": "tablet", "type_b": "user_id", "value_b": "bob"}

    page = act(hub, admin, action="cut", **link).content.decode()
    assert "Nothing has happened yet" in page
    assert len(hub.clusters()) == 1

    act(hub, admin, action="cut", confirm="1", reason="tablet", **link)

    assert set(hub.clusters()) == {
        (anonymous("tablet"), user("ann")),
        (anonymous("phone"), user("bob")),
    }
    assert LogEntry.objects.get().get_change_message() == "Cut links."
    rules = admin.get(f"/admin/people/{hub.destination.pk}/rules/").content.decode()
    assert "tablet" in rules
    act(hub, admin, action="undo", confirm="1", **link)
    assert len(hub.clusters()) == 1


def test_an_erasure_is_counted_confirmed_and_has_a_receipt(hub, admin):
    rudder_id = str(hub.profile("ann"))

    page = act(hub, admin, action="erase", value_a=rudder_id).content.decode()
    assert "web.tracks" in page
    assert not Erasure.objects.exists()

    act(hub, admin, action="erase", value_a=rudder_id, confirm="1", reason="asked")

    erasure = Erasure.objects.get()
    assert hub.clusters() == {}
    assert erasure.reason == "asked"
    page = admin.get(f"/admin/destinations/erasure/{erasure.pk}/change/").content.decode()
    assert "web.tracks" in page
    assert admin.get("/admin/destinations/erasure/").status_code == 200


def test_a_rule_is_tried_added_and_removed(hub, admin):
    page = act(hub, admin, action="add_rule", exact="tablet").content.decode()
    assert "Stored identifiers hidden" in page
    assert len(hub.clusters()) == 1

    act(hub, admin, action="add_rule", exact="tablet", confirm="1")
    assert len(hub.clusters()) == 2

    (rule,) = hub.rows("SELECT id::text FROM {schema}.identity_rule_list WHERE exact = 'tablet'")
    act(hub, admin, action="remove_rule", rule=rule[0], confirm="1")
    assert len(hub.clusters()) == 1


def test_a_lower_hub_limit_is_tried_and_set(hub, admin):
    act(hub, admin, action="limits", hub_limit="1", size_limit="", confirm="1")

    assert (anonymous("tablet"),) in hub.clusters()


def test_a_wrong_limit_is_told(hub, admin):
    answer = admin.post(
        f"/admin/people/{hub.destination.pk}/act/",
        {"action": "limits", "hub_limit": "many"},
        follow=True,
    )

    assert "a limit is &#x27;many&#x27;" in answer.content.decode()


@pytest.mark.parametrize("action", ["cut", "erase", "limits"])
def test_who_may_only_look_changes_nothing(hub, client, action):
    client.force_login(User.objects.create_user("eve", is_staff=True))

    assert act(hub, client, action=action, value_a="ann", confirm="1").status_code == 403
    assert client.get("/admin/people/").status_code == 403


def test_a_token_is_shown_once_and_can_be_revoked(hub, admin):
    url = "/admin/destinations/profiletoken/"
    page = admin.post(
        f"{url}add/", {"destination": hub.destination.pk, "name": "reports"}, follow=True
    )
    token = ProfileToken.objects.get()
    text = page.content.decode().split("shown only now: ")[1].split("<")[0].strip()
    find = {"identifier": "ann"}
    headers = {"Authorization": f"Bearer {text}"}
    assert admin.get("/api/v1/profiles", find, headers=headers).status_code == 200

    admin.post(url, {"action": "revoke", "_selected_action": [token.pk]})

    assert admin.get("/api/v1/profiles", find, headers=headers).status_code == 401


def test_a_difference_is_an_alert_on_the_overview(hub, admin):
    IdentityCheck.objects.create(destination=hub.destination, differences=["hub: a", "hub: b"])
    assert "differ from their links" in admin.get("/admin/").content.decode()

    IdentityCheck.objects.create(destination=hub.destination)

    assert "differ from their links" not in admin.get("/admin/").content.decode()
