from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from destinations.warehouse.rows.naming import Casing
from destinations.warehouse.rows.transform import (
    Metadata,
    Options,
    Row,
    TransformError,
    skip_reason,
    transform,
)
from tests.destinations.warehouse.strategies import events, nested

METADATA = Metadata("src", "Javascript", None, "dst", received_at="2024-03-05T10:15:30.999Z")
CLOUD = Metadata("src", "Stripe", "cloud", "dst", received_at="2024-03-05T10:15:30.999Z")
OURS = {"uuid_ts", "rudder_profile_id", "rudder_extra"}

options = st.builds(
    Options,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.just(()),
    st.builds(Casing, st.booleans()),
)


def rows(event: dict[str, Any], metadata: Metadata = METADATA, **config: Any) -> list[Row]:
    return transform(event, metadata, Options.from_config(config), new_id=lambda: "new")


def track(properties: Any = None, **parts: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Item Viewed", "properties": properties, **parts}


def own_values(event: dict[str, Any], metadata: Metadata = METADATA, **config: Any) -> Any:
    """The values of the event table that no other event has."""
    common, own = (row.values for row in rows(event, metadata, **config))
    return {name: value for name, value in own.items() if name not in common}


def test_a_track_gives_a_row_in_tracks_and_one_in_its_own_table():
    event = track({"price": 9.5}, messageId="m", userId="u", receivedAt="2024-01-01")

    common = {
        "id": "m",
        "user_id": "u",
        "received_at": "2024-01-01T00:00:00.000Z",
        "context_source_id": "src",
        "context_source_type": "Javascript",
        "context_destination_id": "dst",
        "context_destination_type": "POSTGRES",
        "event_text": "Item Viewed",
        "event": "item_viewed",
    }
    types = dict.fromkeys(common, "string") | {
        "received_at": "datetime",
        "uuid_ts": "datetime",
    }
    assert rows(event) == [
        Row("tracks", types, common),
        Row("item_viewed", types | {"price": "float"}, common | {"price": 9.5}),
    ]


@pytest.mark.parametrize("kind", ["merge", "MERGE", "audiencelist", "record"])
def test_a_type_without_a_table_is_skipped_with_a_reason(kind):
    assert rows({"type": kind}) == []
    assert "have no table" in (skip_reason({"type": kind}) or "")


@pytest.mark.parametrize("event", [{}, {"type": 5}, {"type": "foo"}, {"type": " track"}])
def test_an_unknown_type_is_an_error(event):
    with pytest.raises(TransformError, match="Unknown event type"):
        rows(event)
    assert skip_reason(event) is None


def test_a_property_cannot_set_a_column_of_ours():
    mine = {"uuid_ts": 1, "rudder_profile_id": "x", "rudderExtra": {}, "userID": "x", "ok": 1}

    assert own_values(track(mine)) == {"ok": 1}
    assert rows(track(mine))[1].types["uuid_ts"] == "datetime"


def test_the_last_of_colliding_keys_by_code_point_wins_whatever_the_order_sent():
    properties = {"user": {"name": 1}, "user_name": "a", "userName": 2.5}
    backwards = dict(reversed(properties.items()))

    assert own_values(track(properties)) == {"user_name": "a"}
    assert own_values(track(backwards)) == {"user_name": "a"}
    assert rows(track(backwards))[1].types["user_name"] == "string"


def test_blank_values_give_no_column():
    blank: dict[str, Any] = {
        "a": None,
        "b": "",
        "c": [],
        "d": [""],
        "e": [[]],
        "f": {},
        "g": [[""]],
    }
    kept = {"h": 0, "i": False, "j": " ", "k": [None], "l": ["", ""], "m": [[], []], "n": [{}]}

    assert own_values(track(blank | kept)) == kept


def test_objects_of_a_cloud_source_become_text_below_the_fourth_key():
    deep = {"a": {"b": {"c": {"d": {"e": 1.0}}}}}

    assert own_values(track(deep)) == {"a_b_c_d_e": 1}
    assert own_values(track(deep), CLOUD) == {"a_b_c_d": '{"e":1}'}


def test_paths_named_by_the_destination_stay_json():
    properties = {"a": {"b": {"c": 1}}, "d": "2024-01-01", "e": ""}

    values = own_values(track(properties), jsonPaths="track.properties.a.b, d,e")

    assert values == {"a_b": '{"c":1}', "d": '"2024-01-01"'}
    assert rows(track(properties), jsonPaths="d")[1].types["d"] == "json"


def test_an_event_without_a_message_id_gets_one_for_both_rows():
    ids = iter(["first", "second"])

    both = transform(track(), METADATA, Options(), new_id=lambda: next(ids))

    assert [row.values["id"] for row in both] == ["auto-first", "auto-first"]


@pytest.mark.parametrize(("record_id", "text"), [("r", "r"), (7.0, "7"), (True, "true")])
def test_a_row_of_a_cloud_source_has_the_id_of_its_record(record_id, text):
    event = track(recordId=record_id, messageId="m", context={"sources": {"version": 1}})

    tracks, own = rows(event, CLOUD)

    assert (tracks.values["id"], tracks.values["record_id"]) == ("m", text)
    assert own.values["id"] == record_id
    assert "record_id" not in own.values


def test_an_identify_without_a_user_gives_no_users_row():
    tables = [[row.table for row in rows({"type": "identify", "userId": u})] for u in (0, " ", "u")]

    assert tables == [["identifies", "users"], ["identifies"], ["identifies", "users"]]


def test_traits_in_the_context_become_plain_columns_only_when_wanted():
    event = {"type": "identify", "userId": "u", "context": {"traits": {"email": "e"}}}

    assert "email" not in rows(event)[1].values
    assert rows(event, allowUsersContextTraits=True)[1].values["email"] == "e"


def test_the_whole_event_is_kept_when_wanted():
    event = track({"a": 1})

    kept = rows(event, storeFullEvent=True)[0]

    assert kept.types["rudder_event"] == "json"
    assert json.loads(kept.values["rudder_event"])["properties"] == {"a": 1}
    assert json.loads(kept.values["rudder_event"])["context"]["sourceId"] == "src"


def test_too_many_columns_are_an_error_unless_the_row_says_it_is_from_sources():
    wide = {f"p{number}": number for number in range(1600)}

    assert len(rows(track(wide, channel="sources"))[1].types) > 1600
    with pytest.raises(TransformError, match="Too many columns"):
        rows(track(wide))


def test_an_event_without_a_time_of_arrival_is_an_error():
    with pytest.raises(TransformError, match="when it was received"):
        rows(track(), Metadata())


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_too_deep_an_event_is_an_error(kind):
    part: dict[str, Any] = {}
    for _ in range(5000):
        part = {"a": part}

    with pytest.raises(TransformError, match="nested deeper than 250"):
        rows({"type": kind, "context": part})


def test_a_long_path_is_read_no_further_than_a_name_goes():
    path = "k_" * 20_000
    event = track({path: {f"v{number}": number for number in range(1500)}})

    tracemalloc.start()
    values = own_values(event)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert values == {("k_" * 32)[:63]: 999}
    assert most_bytes < 5 * len(path)


def test_depth_within_the_gateways_limit_is_no_error():
    part: Any = 1
    for _ in range(200):
        part = {"a": part}

    assert own_values(track(part)) == {("a_" * 32)[:63]: 1}


def test_a_deep_array_is_kept_as_it_is():
    deep = [1, nested(5000)]

    assert own_values(track({"a": deep}))["a"] is deep


@given(events, options, st.sampled_from([METADATA, CLOUD]))
@example({"type": "track", "event": "x", "properties": {"a": nested(300)}}, Options(), CLOUD)
@example({"type": "page", "name": {"a": nested(300)}}, Options(store_full_event=True), METADATA)
def test_any_event_gives_rows_or_a_transform_error(event, chosen, metadata):
    try:
        found = transform(event, metadata, chosen, new_id=lambda: "new")
    except TransformError:
        return

    assert all(row.types.keys() - row.values.keys() == {"uuid_ts"} for row in found)
    assert all(row.values.keys() <= row.types.keys() for row in found)
    assert not any(OURS & row.values.keys() for row in found)


@given(events, options)
def test_the_order_of_keys_does_not_matter(event, chosen):
    assert result_text(event, chosen) == result_text(backwards(event), chosen)


def result_text(event, chosen):
    plain = Options(chosen.skip_tracks_table, chosen.skip_users_table, casing=chosen.casing)
    try:
        return repr(normalised(transform(event, METADATA, plain, new_id=lambda: "new")))
    except TransformError as error:
        return str(error)


def normalised(value):
    """The value with every object sorted and every JSON text read, so that repr can compare."""
    if isinstance(value, dict):
        return [(key, normalised(value[key])) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return [normalised(item) for item in value]
    if not isinstance(value, str) or value[:1] != "{":
        return value
    try:
        return normalised(json.loads(value))
    except ValueError:
        return value  # was sent as a text


def backwards(value):
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value
