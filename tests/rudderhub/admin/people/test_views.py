from __future__ import annotations

import json
import re

import pytest
from django.contrib.admin.models import LogEntry

from destinations.models import Destination, Erasure, IdentityCheck, ProfileToken
from events.log import writer
from events.models import Load
from events.people import store
from tests.support.events import event
from tests.support.identity_graph import anonymous, user
from tests.support.people import Hub, advance_changes, run_erasures

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _closed():
    yield
    store.close_pooled()
    writer.close_writer()


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url, {"blocked": True})
    hub.load(
        event(1, "identify", anonymousId="tablet", userId="ann", traits={"email": "ann@x.example"}),
    )
    hub.load(event(2, anonymousId="phone", userId="bob", event="Looked"))
    hub.load(event(3, anonymousId="tablet", userId="bob", event="Looked"))
    return hub


def act(hub, client, confirm="", reason="", **data):
    """The page of what was asked for, after a worker has counted it and done what is confirmed."""
    asked = client.post(f"/admin/people/{hub.destination.pk}/act/", data)
    if asked.status_code != 302:
        return asked
    advance_changes()
    if confirm:
        client.post(asked.url, {"confirm": confirm, "reason": reason})
        advance_changes()
    return client.get(asked.url)


def link(hub, a, b):
    """A link as a form names it."""
    return f"{hub.key(a)} {hub.key(b)}"


def tablet_of_bob(hub):
    return link(hub, anonymous("tablet"), user("bob"))


def rules_page(hub, client):
    return client.get(f"/admin/people/{hub.destination.pk}/rules/").content.decode()


def profile_page(hub, client, value="ann", **query):
    url = f"/admin/people/{hub.destination.pk}/{hub.profile(value)}/"
    return client.get(url, query).content.decode()


def log_messages():
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def test_a_profile_is_found_by_any_identifier(hub, admin_client):
    page = admin_client.get("/admin/people/", {"q": "phone", "destination": hub.destination.pk})

    assert str(hub.profile("ann")) in page.content.decode()


def test_the_newest_profiles_are_listed_before_anybody_asks(hub, admin_client):
    hub.load(event(4, userId="carl", event="Looked"))

    page = admin_client.get("/admin/people/").content.decode()

    assert page.index(str(hub.profile("carl"))) < page.index(str(hub.profile("ann")))


def test_a_search_without_result_says_so(hub, admin_client):
    page = admin_client.get("/admin/people/", {"q": "nobody"}).content.decode()

    assert "No profile has this identifier" in page


def test_a_profile_shows_traits_links_events_and_the_path_to_another(hub, admin_client):
    url = f"/admin/people/{hub.destination.pk}/{hub.profile('ann')}/"

    page = admin_client.get(url, {"with": "phone"}).content.decode()

    for text in ("ann@x.example", "m1", "m3", "looked", "Previous ids", "tablet", "joined"):
        assert text in page


def test_the_picture_has_each_identifier_and_link_and_marks_the_path(hub, admin_client):
    page = profile_page(hub, admin_client, **{"from": "tablet", "with": "phone"})

    assert page.count('class="rh-node rh-node-circle') == 3  # two users, and the legend
    assert page.count('class="rh-edge rh-edge-joined') == 3
    assert page.count('class="rh-edge rh-edge-joined rh-on-path"') == 2
    assert "user_id bob to anonymous_id" not in page
    assert "anonymous_id tablet to user_id bob: first seen in event m3 of web" in page


def test_a_cut_link_stays_in_the_picture_of_both_sides(hub, admin_client):
    act(hub, admin_client, action="cut", confirm="1", link=tablet_of_bob(hub))

    for value in ("ann", "bob"):
        page = profile_page(hub, admin_client, value)
        assert page.count('class="rh-edge rh-edge-cut"') == 2  # and the legend
        assert "Restore…" in page


def test_a_warehouse_with_one_event_table_has_a_timeline(warehouse, warehouse_url, admin_client):
    hub = Hub(warehouse, warehouse_url)
    hub.load(event(3, "page", userId="ann"))

    page = profile_page(hub, admin_client)

    assert ">m3</code>" in page.partition('id="events"')[2]


def test_the_timeline_continues_on_the_next_page(hub, admin_client):
    """All at one time: the pages are told apart by the message."""
    same = {"receivedAt": "2026-03-01T11:00:00.000Z", "userId": "ann", "event": "Looked"}
    hub.load(*({**event(1, **same), "messageId": f"n{number:02}"} for number in range(25)))

    first = profile_page(hub, admin_client)
    older = re.search(r'rel="next" href="[?]([^"#]+)', first)[1].replace("&amp;", "&")
    url = f"/admin/people/{hub.destination.pk}/{hub.profile('ann')}/?{older}"
    second = admin_client.get(url).content.decode()

    def messages(page):
        return re.findall(r"<code[^>]*>([mn]\d+)</code>", page.partition('id="events"')[2])

    assert messages(first) == [f"n{number:02}" for number in range(24, 4, -1)]
    assert messages(second) == ["n04", "n03", "n02", "n01", "n00", "m3", "m2", "m1"]


def test_an_export_holds_all_of_a_person_and_is_in_the_audit_log(hub, admin_client):
    rudder_id = hub.profile("ann")

    answer = admin_client.get(f"/admin/people/{hub.destination.pk}/{rudder_id}/export/")

    found = json.loads(answer.content)
    assert answer["Content-Disposition"].startswith("attachment")
    assert [each["name"] for each in found["traits"]] == ["email"]
    assert len(found["identifiers"]) == 4
    assert len(found["links"]) == 3
    assert [row["id"] for row in found["rows"]["web.looked"]] == ["m2", "m3"]
    assert [row["email"] for row in found["rows"]["web.users"]] == ["ann@x.example"]
    assert not found["is_cut_short"]
    assert log_messages() == [f"Exported the profile {rudder_id}."]


def test_a_cut_is_shown_confirmed_and_kept_in_the_history(hub, admin_client):
    bob = tablet_of_bob(hub)

    page = act(hub, admin_client, action="cut", link=bob).content.decode()
    assert "Preview: nothing has been changed yet" in page
    assert "Profiles: 1 before, 2 after" in page
    assert page.count('class="rh-side"') == 2
    assert len(hub.clusters()) == 1

    act(hub, admin_client, action="cut", confirm="1", reason="tablet", link=bob)

    assert set(hub.clusters()) == {
        (anonymous("tablet"), user("ann")),
        (anonymous("phone"), user("bob")),
    }
    assert log_messages() == ["Previewed: Cut links.", "Cut links."]
    assert "split off" in rules_page(hub, admin_client)
    act(hub, admin_client, action="undo", confirm="1", link=bob)
    assert len(hub.clusters()) == 1


def test_an_action_on_a_profile_leads_back_to_it(hub, admin_client):
    rudder_id = hub.profile("ann")

    done = act(
        hub,
        admin_client,
        action="cut",
        confirm="1",
        link=tablet_of_bob(hub),
        profile=str(rudder_id),
    )

    assert f'href="/admin/people/{hub.destination.pk}/{rudder_id}/">Back<' in done.content.decode()


def test_a_merge_is_undone_from_its_row_and_comes_back(hub, admin_client):
    before = hub.clusters()
    row = re.search(r'name="merge" value="(\d+)"', rules_page(hub, admin_client))[1]

    preview = act(hub, admin_client, action="cut", merge=row).content.decode()
    assert "Profiles: 1 before, 2 after" in preview
    assert hub.clusters() == before

    act(hub, admin_client, action="cut", merge=row, confirm="1", reason="shared tablet")
    assert set(hub.clusters()) == {
        (anonymous("tablet"), user("ann")),
        (anonymous("phone"), user("bob")),
    }
    page = rules_page(hub, admin_client)
    assert 'name="merge"' not in page

    act(hub, admin_client, action="undo", confirm="1", link=tablet_of_bob(hub))

    assert hub.clusters() == before
    assert rules_page(hub, admin_client).count("merged") == page.count("merged") + 1


def test_undoing_a_merge_with_a_second_path_offers_to_cut_that_path(hub, admin_client):
    hub.load(event(4, anonymousId="laptop", userId="ann", event="Looked"))
    hub.load(event(5, anonymousId="laptop", userId="bob", event="Looked"))
    row = re.search(r'name="merge" value="(\d+)"', rules_page(hub, admin_client))[1]

    preview = act(hub, admin_client, action="cut", merge=row).content.decode()
    assert "Still joined" in preview

    laptop = link(hub, anonymous("laptop"), user("bob"))
    assert laptop in preview or " ".join(reversed(laptop.split())) in preview
    act(hub, admin_client, action="cut", merge=row, link=laptop, confirm="1")

    assert len(hub.clusters()) == 2


def test_all_links_of_an_event_are_cut_even_if_another_event_created_them(hub, admin_client):
    stated = [{"type": "phone", "value": "0123"}]
    hub.load(event(6, "merge", userId="bob", anonymousId="phone", mergeProperties=stated))

    act(hub, admin_client, action="cut", message="m6", confirm="1")

    assert set(hub.clusters()) == {
        (anonymous("tablet"), user("ann"), user("bob")),
        (anonymous("phone"),),
        (("phone", "0123"),),
    }


def test_a_forged_key_changes_nothing(hub, admin_client):
    forged = [
        {"link": "x y"},
        {"link": "x"},
        {"identifier": str(hub.destination.public_id)},
        {"identifier": str(hub.destination.public_id).zfill(32)[:32]},
        {"merge": "x"},
        {"merge": "9" * 30},
    ]

    pages = [act(hub, admin_client, action="cut", confirm="1", **data) for data in forged]

    assert [page.context["change"].state for page in pages] == ["failed"] * len(forged)
    assert len(hub.clusters()) == 1


def test_a_held_merge_is_released(warehouse, warehouse_url, admin_client):
    hub = Hub(warehouse, warehouse_url, {"size_limit": 2})
    hub.load(event(1, anonymousId="a", userId="u"), event(2, anonymousId="b", userId="u"))
    held = re.search(
        r'value="release"><input type="hidden" name="link" value="([^"]+)"',
        rules_page(hub, admin_client),
    )

    act(hub, admin_client, action="release", link=held[1], confirm="1")

    assert list(hub.clusters()) == [(anonymous("a"), anonymous("b"), user("u"))]
    assert "Release a blocked merge." in log_messages()


def test_a_blocked_merge_is_shown_by_its_load_and_on_the_overview(
    warehouse, warehouse_url, admin_client
):
    hub = Hub(warehouse, warehouse_url, {"size_limit": 2})
    hub.load(event(1, anonymousId="a", userId="u"))
    assert Load.objects.latest("pk").warnings == []

    hub.load(event(2, anonymousId="b", userId="u"))

    told = "merges blocked by the size limit: 1"
    assert Load.objects.latest("pk").warnings == [told]
    assert told in admin_client.get("/admin/").content.decode()
    hub.load(event(2, anonymousId="b", userId="u"))
    assert Load.objects.latest("pk").warnings == []


def test_the_merge_log_continues_on_the_next_page(hub, admin_client):
    number = hub.rows(
        "INSERT INTO {schema}.identity_merge_log (old_rudder_id, new_rudder_id, actor)"
        " SELECT gen_random_uuid(), gen_random_uuid(), 'old entry' FROM generate_series(1, 60)"
        " RETURNING id"
    )[9][0]

    first = rules_page(hub, admin_client)
    second = admin_client.get(f"/admin/people/{hub.destination.pk}/rules/?before={number + 1}")

    assert first.count("old entry") == 50
    assert f'href="?before={number + 1}"' in first
    assert second.content.decode().count("old entry") == 10
    assert "m3" in second.content.decode()


def test_the_navigation_leads_to_the_rules_of_a_destination(hub, admin_client):
    page = admin_client.get("/admin/people/").content.decode()
    assert "/admin/people/rules/" in page

    answer = admin_client.get("/admin/people/rules/")

    assert answer.url == f"/admin/people/{hub.destination.pk}/rules/"


def test_the_biggest_profiles_are_listed(hub, admin_client):
    page = rules_page(hub, admin_client).partition("Biggest profiles")[2]

    assert re.search(rf"{hub.profile('ann')}.*?rh-number\">4<", page, re.DOTALL)


def test_an_erasure_is_counted_confirmed_and_has_a_receipt(hub, admin_client):
    rudder_id = str(hub.profile("ann"))

    page = act(hub, admin_client, action="erase", value=rudder_id).content.decode()
    assert "web.tracks" in page
    assert not Erasure.objects.exists()

    act(hub, admin_client, action="erase", value=rudder_id, confirm="1", reason="asked")
    run_erasures()

    erasure = Erasure.objects.get()
    assert hub.clusters() == {}
    assert erasure.reason == "asked"
    page = admin_client.get(f"/admin/destinations/erasure/{erasure.pk}/change/").content.decode()
    assert "web.tracks" in page
    assert admin_client.get("/admin/destinations/erasure/").status_code == 200


def test_an_identifier_of_no_event_can_be_suppressed(hub, admin_client):
    form = {"value": "ghost", "type": "user_id", "scope": "identifier"}

    assert f"/admin/people/{hub.destination.pk}/act/" in (
        admin_client.get("/admin/destinations/erasure/").content.decode()
    )
    act(hub, admin_client, action="erase", confirm="1", value="ghost", scope="identifier")
    assert not Erasure.objects.exists()  # of which type?
    act(hub, admin_client, action="erase", confirm="1", **form)
    run_erasures()
    hub.load(event(7, userId="ghost", event="Looked"))

    assert (user("ghost"),) not in hub.clusters()
    assert Erasure.objects.count() == 1


def test_a_rule_is_tried_added_and_removed(hub, admin_client):
    page = act(hub, admin_client, action="add_rule", exact="tablet").content.decode()
    assert "Stored identifiers hidden" in page
    assert len(hub.clusters()) == 1

    act(hub, admin_client, action="add_rule", exact="tablet", confirm="1")
    assert len(hub.clusters()) == 2

    (rule,) = hub.rows("SELECT id::text FROM {schema}.identity_rule_list WHERE exact = 'tablet'")
    act(hub, admin_client, action="remove_rule", rule=rule[0], confirm="1")
    assert len(hub.clusters()) == 1


def test_a_lower_hub_limit_is_tried_and_set(hub, admin_client):
    act(hub, admin_client, action="limits", hub_limit="1", size_limit="", confirm="1")

    assert (anonymous("tablet"),) in hub.clusters()


def test_traits_that_identify_are_tried_and_set_with_the_destination(hub, admin_client):
    form = {"action": "limits", "trait_identifiers": "email, phone"}
    act(hub, admin_client, **form)
    assert (
        "trait_identifiers" not in Destination.objects.get().config
        or not (Destination.objects.get().config["trait_identifiers"])
    )

    act(hub, admin_client, confirm="1", **form)

    assert Destination.objects.get().config["trait_identifiers"] == "email, phone"
    assert hub.rows("SELECT options -> 'trait_identifiers' FROM {schema}.identity_meta") == [
        (["email", "phone"],)
    ]


def test_limits_that_are_sent_as_they_are_leave_the_destination_alone(hub, admin_client):
    """Its form may say something new that no load has taken over yet."""
    hub.destination.config["trait_identifiers"] = "email"
    hub.destination.save()
    form = {"hub_limit": "3", "size_limit": "", "trait_identifiers": ""}

    page = act(hub, admin_client, action="limits", **form).content.decode()
    act(hub, admin_client, action="limits", confirm="1", **form)

    assert "Hub limit" in page
    assert "Size limit" not in page
    assert Destination.objects.get().config["trait_identifiers"] == "email"


def test_an_invalid_limit_is_rejected(hub, admin_client):
    answer = act(hub, admin_client, action="limits", hub_limit="many")

    assert "a limit is &#x27;many&#x27;" in answer.content.decode()


PERSONAL = ("ann", "bob", "tablet", "phone", "secret-rule", "their wish")


SEES_NO_PERSONAL_DATA = ("view_destination", "view_erasure")


def words(page):
    """What a page shows or holds, without its address bar and its styles."""
    return re.sub(r"data-[a-z-]+|/static/[^\"]+", "", page)


def personal(page):
    return [value for value in PERSONAL if re.search(rf"\b{value}\b", words(page))]


@pytest.fixture
def marked(hub, admin_client):
    """With a cut, a rule, a hub and an erasure, each about somebody."""
    hub.load(event(8, anonymousId="phone", userId="carl", event="Looked"))
    act(hub, admin_client, action="add_rule", exact="secret-rule", confirm="1")
    hub.load(event(9, anonymousId="tablet", userId="dora", event="Looked"))
    cut = link(hub, anonymous("tablet"), user("dora"))
    act(hub, admin_client, action="cut", confirm="1", reason="their wish", link=cut)
    act(hub, admin_client, action="erase", value="carl", type="user_id", scope="identifier",
        confirm="1", reason="their wish")  # fmt: skip
    run_erasures()
    LogEntry.objects.all().delete()
    return hub


def pages(hub):
    base = f"/admin/people/{hub.destination.pk}"
    rudder_id = hub.profile("ann")
    other = hub.key(user("dora"))
    receipt = Erasure.objects.latest("pk").pk
    return [
        "/admin/people/",
        f"/admin/people/?q={rudder_id}",
        f"{base}/{rudder_id}/",
        f"{base}/{rudder_id}/?with={hub.key(anonymous('phone'))}",
        f"{base}/{rudder_id}/?with={other}",
        f"{base}/rules/",
        "/admin/destinations/erasure/",
        f"/admin/destinations/erasure/{receipt}/change/",
    ]


def test_every_page_of_people_hides_personal_data_without_the_permission(marked, staff_client):
    analyst = staff_client(*SEES_NO_PERSONAL_DATA)

    seen = {url: analyst.get(url) for url in pages(marked)}

    assert {url: answer.status_code for url, answer in seen.items()} == dict.fromkeys(seen, 200)
    told = {url: personal(answer.content.decode()) for url, answer in seen.items()}
    assert told == {url: [] for url in seen}
    assert log_messages() == []


def test_the_same_pages_show_personal_data_with_the_permission_and_are_logged(marked, admin_client):
    seen = {url: personal(admin_client.get(url).content.decode()) for url in pages(marked)}

    assert [url for url, values in seen.items() if not values] == ["/admin/destinations/erasure/"]
    assert len(log_messages()) == len(seen) - 1


def test_cutting_and_erasing_work_without_seeing_personal_data(marked, staff_client):
    member = staff_client(*SEES_NO_PERSONAL_DATA, "change_destination", "add_erasure")
    bob = tablet_of_bob(marked)

    shown = [
        act(marked, member, action="cut", link=bob),
        act(marked, member, action="cut", identifier=str(marked.key(user("bob")))),
        act(marked, member, action="cut", message="m3"),
        act(marked, member, action="erase", value=str(marked.profile("ann"))),
    ]

    assert [personal(answer.content.decode()) for answer in shown] == [[], [], [], []]
    assert all(
        "Preview: nothing has been changed yet" in answer.content.decode() for answer in shown
    )
    act(marked, member, action="cut", link=bob, confirm="1")
    assert len(marked.clusters()) == 3


def test_an_export_requires_the_permission_for_personal_data(marked, staff_client):
    url = f"/admin/people/{marked.destination.pk}/{marked.profile('ann')}/export/"

    assert staff_client(*SEES_NO_PERSONAL_DATA).get(url).status_code == 403


@pytest.mark.parametrize("action", ["cut", "erase", "limits"])
def test_a_user_who_may_only_view_changes_nothing(hub, staff_client, action):
    client = staff_client()

    assert act(hub, client, action=action, value_a="ann", confirm="1").status_code == 403
    assert client.get("/admin/people/").status_code == 403


def test_a_token_is_shown_once_and_can_be_revoked(hub, admin_client):
    url = "/admin/destinations/profiletoken/"
    page = admin_client.post(
        f"{url}add/", {"destination": hub.destination.pk, "name": "reports"}, follow=True
    )
    token = ProfileToken.objects.get()
    text = page.content.decode().split("It is not shown again: ")[1].split("<")[0].strip()
    find = {"identifier": "ann"}
    headers = {"Authorization": f"Bearer {text}"}
    assert admin_client.get("/api/v1/profiles", find, headers=headers).status_code == 200

    form = {"action": "revoke", "_selected_action": [token.pk]}
    asked = admin_client.post(url, form).content.decode()
    assert "Revoke them" in asked
    assert admin_client.get("/api/v1/profiles", find, headers=headers).status_code == 200

    admin_client.post(url, {**form, "confirm": "1"})

    assert admin_client.get("/api/v1/profiles", find, headers=headers).status_code == 401


def test_a_difference_is_an_alert_on_the_overview(hub, admin_client):
    IdentityCheck.objects.create(destination=hub.destination, differences=["hub: a", "hub: b"])
    assert "differ from their links" in admin_client.get("/admin/").content.decode()

    IdentityCheck.objects.create(destination=hub.destination)

    assert "differ from their links" not in admin_client.get("/admin/").content.decode()


def test_the_navigation_marks_the_page_that_is_open(hub, admin_client):
    def marked(page):
        return re.findall(r'<a href="(/admin/people[^"]*)" class="[^"]* active">', page)

    assert marked(rules_page(hub, admin_client)) == ["/admin/people/rules/"]
    assert marked(profile_page(hub, admin_client)) == ["/admin/people/"]
