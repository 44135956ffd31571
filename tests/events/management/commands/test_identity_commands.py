from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from destinations.models import Erasure, IdentityCheck
from events import tasks
from events.log import writer
from events.people import self_check
from tests.support.events import event
from tests.support.factories import make_admin
from tests.support.identity_graph import anonymous, user
from tests.support.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url)
    hub.load(
        event(1, anonymousId="tablet", userId="ann", event="Looked"),
        event(2, anonymousId="tablet", userId="bob", event="Looked"),
    )
    yield hub
    writer.close_writer()


def run(name, *arguments, **options):
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


def test_the_path_between_two_identifiers_is_printed(hub):
    text = run("explain_identity", hub.destination.name, "ann", "bob")

    assert text.startswith("One profile:\n  joined: user_id 'ann' - anonymous_id 'tablet' from")
    assert "from event m2 of" in text


def test_the_reason_why_two_identifiers_are_separate_is_printed(hub):
    text = run("explain_identity", str(hub.destination.pk), "ann", "carl")

    assert text.startswith("Not one profile:\n  unknown: None 'carl' (no event has it")


def test_an_unknown_destination_is_an_error(hub):
    with pytest.raises(CommandError, match="0 destinations are called 'nowhere'"):
        run("explain_identity", "nowhere", "ann", "bob")


def test_a_check_finds_nothing_and_then_a_damage_that_a_rebuild_corrects(hub):
    name = hub.destination.public_id
    assert run("identity_check", name) == "The stored identities match their links.\n"
    hub.rows("DELETE FROM {schema}.identity_component RETURNING 1")

    with pytest.raises(CommandError, match="identity_rebuild"):
        run("identity_check", name)
    assert run("identity_rebuild", name).endswith("Rebuilt.\n")

    assert run("identity_rebuild", name) == "Rebuilt. Nothing differed.\n"
    assert [len(check.differences) > 0 for check in IdentityCheck.objects.all()] == [True, False]


def test_a_damage_is_an_alert_on_the_overview_until_it_is_rebuilt(hub, client):
    client.force_login(make_admin())
    alert = f"Identities of {hub.destination} differ from their links"
    hub.rows("UPDATE {schema}.identity_component SET size = size + 1 RETURNING 1")

    tasks.check_identities()
    assert alert in client.get("/admin/").content.decode()

    run("identity_rebuild", hub.destination.public_id)
    tasks.check_identities()
    assert alert not in client.get("/admin/").content.decode()


def test_the_nightly_check_keeps_a_result_for_each_destination(hub):
    self_check.check_all()

    assert [check.destination for check in IdentityCheck.objects.all()] == [hub.destination]


def test_an_unmerge_is_shown_first_and_done_with_yes(hub):
    arguments = ("unmerge", hub.destination.name, "anonymous_id", "tablet", "user_id", "bob")

    preview = run(*arguments)
    assert len(hub.clusters()) == 1
    assert run(*arguments, "--yes") == preview
    assert set(hub.clusters()) == {(anonymous("tablet"), user("ann")), (user("bob"),)}

    run(*arguments, "--undo", "--yes")
    assert len(hub.clusters()) == 1
    run("unmerge", hub.destination.name, "--event", "m2", "--yes")
    assert len(hub.clusters()) == 2


def test_an_erasure_is_counted_first_and_done_with_yes(hub):
    text = run("erase_person", hub.destination.name, "ann")
    assert text.endswith("Nothing was erased. Add --yes to erase.\n")
    assert len(hub.clusters()) == 1

    assert "Erased: receipt" in run("erase_person", hub.destination.name, "ann", "--yes")

    assert hub.clusters() == {}
    assert Erasure.objects.count() == 1


def test_rows_from_before_resolution_are_seeded_and_stamped(hub):
    destination = hub.destination
    destination.config = {**destination.config, "resolve_identities": False}
    destination.save()
    hub.load(
        event(3, anonymousId="phone", userId="carl", event="Looked"),
        event(4, "alias", userId="carl-2", previousId="carl"),
    )
    assert (user("carl"),) not in hub.clusters()
    destination.config = {**destination.config, "resolve_identities": True}
    destination.save()

    run("identity_seed", destination.name)

    carl = min(hub.key(anonymous("phone")), hub.key(user("carl")))
    assert (anonymous("phone"), user("carl"), user("carl-2")) in hub.clusters()
    assert hub.row_ids_by_profile()[carl] == ["m3"]
    assert hub.row_ids_by_profile("web.aliases_resolved") == {carl: ["m4"]}
    assert run("identity_check", destination.name) == "The stored identities match their links.\n"
