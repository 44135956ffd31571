"""Where a person's values could stay behind after an erasure."""

from __future__ import annotations

import base64
import json

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.utils import timezone

from destinations.interface import DestinationError
from destinations.postgres.operations import guards
from destinations.postgres.operations.rebuild import graph_differences
from events.gateway import recent_requests
from events.log import counts, writer
from events.log.database import log_connection
from events.models import DeadLetter, Event, Load, Quarantined
from events.people import store
from events.people.erasure import erase_person
from sources.models import Source
from tests.support.events import event
from tests.support.factories import (
    make_admin,
    make_connection,
    make_destination,
    make_event,
    make_source,
)
from tests.support.identity_graph import anonymous, user
from tests.support.people import Hub, everything_stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(warehouse, warehouse_url):
    yield Hub(warehouse, warehouse_url, {"blocked": True})
    writer.close_writer()


def make_refused_request(hub, body, **fields):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Quarantined.objects.create(
        source=hub.connection("web").source,
        **{"route": "/v1/track", "status": 400, "reason": "r", **fields},
        body=body,
        body_bytes=len(body),
    )


def test_discards_of_the_rows_and_of_the_users_row_are_deleted(hub):
    hub.load(event(1, "identify", userId="bob", traits={"age": 3}))
    hub.load(event(2, "identify", userId="ann-1", traits={"age": "secret-age"}))
    assert hub.conn.execute(
        "SELECT table_name, row_id FROM web.rudder_discards ORDER BY 1"
    ).fetchall() == [("identifies", "m2"), ("users", "ann-1")]

    receipt = erase_person(hub.destination, "ann-1", actor="eve")

    assert receipt.counts["web.rudder_discards"] == 2
    assert "ann-1" not in everything_stored(hub)
    assert "secret-age" not in everything_stored(hub)


def test_a_person_who_loses_one_identifier_keeps_the_traits(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url, {"trait_identifiers": ["email"]})
    ann = event(1, "identify", userId="ann", traits={"email": "ann@x.example"})
    hub.load(ann)

    erase_person(hub.destination, "ann@x.example", "email", whole_profile=False, actor="eve")
    hub.load(ann)

    assert hub.clusters() == {
        (user("ann"),): (hub.key(user("ann")), "ann", {"email": "ann@x.example"})
    }
    writer.close_writer()


def test_traits_of_accounts_lose_the_erased_value(hub):
    traits = {"owner": "ann-1", "staff": ["bob", "ann-1"]}
    hub.load(event(1, "group", userId="ann-1", groupId="acme", traits=traits))
    hub.load(event(2, "group", userId="bob", groupId="acme"))

    receipt = erase_person(hub.destination, "ann-1", actor="eve")

    assert "ann-1" not in everything_stored(hub)
    assert hub.rows("SELECT traits FROM {schema}.rudder_accounts") == [({"staff": ["bob", None]},)]
    assert receipt.counts["identity_account (values)"] == 1


def test_an_account_that_is_named_after_the_erased_value_is_deleted(hub):
    hub.load(event(1, "group", userId="ann-1", groupId="ann-1", traits={"name": "Me"}))
    hub.load(event(2, "group", userId="ann-1", groupId="acme", traits={"name": "Acme"}))

    erase_person(hub.destination, "ann-1", actor="eve")

    assert hub.rows("SELECT group_id FROM {schema}.rudder_accounts") == [("acme",)]
    assert "ann-1" not in everything_stored(hub)


def test_later_events_of_an_erased_person_leave_the_log_once_they_are_loaded(hub):
    hub.load(event(1, userId="ann-1", anonymousId="tablet"), event(2, userId="bob"))
    erase_person(hub.destination, "ann-1", "user_id", whole_profile=False, actor="eve")

    hub.load(
        event(3, userId="ann-1", event="Looked", context={"traits": {"phone": "555-0100"}}),
        event(4, userId="bob", event="Looked"),
        event(5, "alias", userId="bob", previousId="ann-1"),
    )

    text = everything_stored(hub)
    assert "ann-1" not in text
    assert "555-0100" not in text
    assert list(Event.objects.order_by("id").values_list("type", "user_id")) == [
        ("erased", ""),
        ("track", "bob"),
        ("erased", ""),
        ("track", "bob"),
        ("alias", "bob"),
    ]
    assert hub.connection("web").loads.latest("pk").skipped == 1


def test_later_events_stay_in_the_log_for_a_destination_that_has_not_loaded_them(hub):
    connection = hub.connection("web")
    make_connection(connection.source, make_destination())
    erase_person(hub.destination, "ann-1", "user_id", whole_profile=False, actor="eve")

    hub.load(event(3, userId="ann-1", event="Looked"))

    assert list(Event.objects.values_list("user_id", flat=True)) == ["ann-1"]


def test_events_that_state_nothing_are_found_by_their_columns(hub):
    hub.load(
        event(1, userId="ann-1", anonymousId="tablet"),
        event(2, "merge", userId="ann-1", mergeProperties="nothing"),
        event(3, "record", userId="ann-1", fields={"phone": "555-0100"}),
        event(4, "alias", userId="carl", previousId="carla", anonymousId="tablet"),
    )

    erase_person(hub.destination, "ann-1", actor="eve")

    text = everything_stored(hub)
    assert [value for value in ("ann-1", "tablet", "555-0100") if value in text] == []
    assert "carla" in text


def test_one_of_many_identifiers_is_found_in_a_call_of_somebody_else(hub):
    hub.load(
        *(
            event(n % 9, messageId=f"d{n}", userId="ann", anonymousId=f"tablet-{n}")
            for n in range(60)
        )
    )
    stated = [{"type": "anonymous_id", "value": "tablet-7"}]
    hub.load(event(9, "merge", userId="bob", mergeProperties=stated))
    hub.operate({"op": "unlink", "a": user("bob"), "b": anonymous("tablet-7")})

    erase_person(hub.destination, "ann", actor="eve")

    assert "tablet-" not in everything_stored(hub)
    assert set(hub.clusters()) == {(user("bob"),)}


@pytest.mark.parametrize("sent", [4077, 4077.0, "4077"], ids=repr)
def test_a_number_is_found_however_it_was_written(hub, sent):
    hub.load(
        event(1, userId=sent, event="Looked", properties={"phone": "555-0100"}),
        event(2, "identify", userId="4077", anonymousId="tablet"),
        event(3, "track", userId="bob", anonymousId="4077", event="Looked"),
    )

    erase_person(hub.destination, "4077", "user_id", actor="eve")

    assert "555-0100" not in everything_stored(hub)
    assert list(Event.objects.order_by("id").values_list("type", flat=True)) == [
        "erased",
        "erased",
        "track",
    ]


def test_dead_letters_and_refused_requests_that_name_the_person_are_deleted(hub):
    hub.load(event(1, userId="ann-1", anonymousId="tablet"))
    connection = hub.connection("web")
    other = make_connection(connection.source, make_destination())
    DeadLetter.objects.create(
        connection=other, event_id=1, message_id="d1", reason="r", payload='{"userId":"ann-1"}'
    )
    inner = base64.b64encode(b'{"anonymousId": "tablet"}').decode()
    make_refused_request(hub, {"userId": "x"}, reason="event 'ann-1' is not known")
    make_refused_request(hub, {"data": inner}, circumstances={"part_of": "query"})
    make_refused_request(hub, b'{"userId": "ann-1')
    kept = make_refused_request(hub, {"userId": "ann-12"})

    receipt = erase_person(hub.destination, "ann-1", actor="eve")

    assert (receipt.counts["dead letters"], receipt.counts["quarantine"]) == (1, 3)
    assert list(Quarantined.objects.values_list("pk", flat=True)) == [kept.pk]


def test_requests_that_are_kept_for_the_trace_are_deleted(hub):
    source, moment = hub.connection("web").source, timezone.now()
    recent_requests.keep_request(
        source.pk, moment, {"PATH_INFO": "/v1/track"}, b'{"userId":"ann-1"}'
    )
    recent_requests.close_keeper()
    hub.load(event(1, "identify", userId="ann-1"))
    before = recent_requests.find_request(source.pk, moment)

    erase_person(hub.destination, "ann-1", actor="eve")

    assert before
    assert recent_requests.find_request(source.pk, moment) is None


def test_values_are_cleared_from_messages_that_quote_them(hub):
    hub.load(event(1, userId="ann-1"))
    connection, admin = hub.connection("web"), make_admin()
    error = 'invalid input syntax for type bigint: "ann-1", after 1 row'
    Load.objects.create(connection=connection, after_id=0, upto_id=1, error=error)
    connection.error = error
    connection.save()
    LogEntry.objects.log_actions(admin.pk, [connection], CHANGE, f"Looked at: {error}")

    receipt = erase_person(hub.destination, "ann-1", actor="eve", reason="wish of ann-1")

    assert "ann-1" not in everything_stored(hub)
    assert receipt.counts["messages"] == 3
    assert receipt.reason == "wish of [erased]"
    assert Load.objects.latest("pk").error == error.replace("ann-1", "[erased]")


def test_a_rule_that_names_the_erased_value_is_deleted(hub):
    hub.load(event(1, userId="ann-1", anonymousId="tablet"), event(2, userId="bob"))
    with store.connect(hub.destination) as identities, identities.operation("ann") as op:
        guards.add_rule(op, exact="ann-1")
        guards.add_rule(op, exact="bob")

    receipt = erase_person(hub.destination, "ann-1", "user_id", whole_profile=False, actor="eve")

    assert "ann-1" not in everything_stored(hub)
    assert receipt.counts["identity_rule_list"] == 1
    assert set(hub.clusters()) == {(anonymous("tablet"),)}
    assert graph_differences(hub.conn, hub.schema) == []


def test_a_value_that_was_never_an_identifier_is_cleared_from_the_ids_of_rows(hub):
    with store.connect(hub.destination) as identities, identities.operation("ann") as op:
        guards.add_rule(op, exact="ann-1", id_type="anonymous_id")
    hub.load(event(1, userId="bob", anonymousId="ann-1", event="Looked", properties={"x": "ann-1"}))
    assert "ann-1" in everything_stored(hub)

    erase_person(hub.destination, "ann-1", "anonymous_id", whole_profile=False, actor="eve")

    assert hub.conn.execute("SELECT anonymous_id FROM web.tracks").fetchall() == [(None,)]


def test_events_and_rows_of_a_removed_source_are_erased(hub):
    hub.load(event(1, "identify", userId="ann-1", anonymousId="tablet", source="Old shop"))
    hub.load(event(2, userId="ann-1", event="Looked"))
    with log_connection() as conn:
        counts.advance_counts(conn)
    Source.objects.get(name="Old shop").delete()

    erase_person(hub.destination, "tablet", actor="eve")

    text = everything_stored(hub)
    assert [value for value in ("ann-1", "tablet") if value in text] == []


def test_the_log_of_another_destination_stays(hub):
    other = make_connection(make_source(), make_destination())
    make_event(other.source, user_id="ann-1", payload='{"type": "track", "userId": "ann-1"}')

    erase_person(hub.destination, "ann-1", "user_id", whole_profile=False, actor="eve")

    assert Event.objects.get().user_id == "ann-1"


@pytest.mark.parametrize("value", ["", " ", "\u200b"])
def test_a_value_that_would_fit_anything_is_refused(hub, value):
    kept = make_refused_request(hub, {"userId": "bob"})

    with pytest.raises(DestinationError, match="no visible character"):
        erase_person(hub.destination, value, "user_id", whole_profile=False, actor="eve")

    assert Quarantined.objects.get() == kept


def test_an_unknown_mode_is_refused(hub):
    with pytest.raises(DestinationError, match="'shred'"):
        erase_person(
            hub.destination, "a", "user_id", whole_profile=False, mode="shred", actor="eve"
        )
