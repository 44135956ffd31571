"""Hypothesis strategies for whatever a sender may put into an event."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.one_of(
    st.text(max_size=10),
    st.text(st.characters(exclude_categories=()), max_size=5),
    st.sampled_from(
        ["2024-01-15", "2024-02-31 10:00", "sources", "0", "\0", "\ud800", " ", "order", "tracks"]
    ),
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**20, -(10**400), 1.0, -0.0, 1e300])
)
keys = st.one_of(
    texts, st.sampled_from(["id", "userId", "a", "A", "a_b", "b", "uuid_ts", "ip", "version"])
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(keys, json_values, max_size=6)
types = st.sampled_from(
    ["track", "TRACK", "identify", "page", "screen", "group", "alias", "extract", "merge", "foo"]
)
parts = st.one_of(objects, json_values)
events = st.fixed_dictionaries(
    {"type": st.one_of(types, json_values)},
    optional={
        "event": st.one_of(texts, json_values),
        "messageId": json_values,
        "userId": json_values,
        "anonymousId": json_values,
        "groupId": json_values,
        "recordId": json_values,
        "name": json_values,
        "receivedAt": json_values,
        "sentAt": json_values,
        "channel": json_values,
        "request_ip": json_values,
        "properties": parts,
        "userProperties": parts,
        "traits": parts,
        "context": st.one_of(
            parts,
            st.fixed_dictionaries(
                {}, optional={"traits": parts, "sources": parts, "ip": json_values}
            ),
        ),
        "integrations": st.one_of(
            json_values,
            st.fixed_dictionaries(
                {
                    "POSTGRES": st.fixed_dictionaries(
                        {},
                        optional={
                            "options": st.fixed_dictionaries(
                                {},
                                optional={
                                    "skipTracksTable": json_values,
                                    "useBlendoCasing": json_values,
                                    "jsonPaths": st.one_of(
                                        json_values,
                                        st.just(["a", "track.properties.a.b", "page.context.a"]),
                                    ),
                                },
                            )
                        },
                    )
                }
            ),
        ),
    },
)


def nested(depth: int) -> list[Any]:
    """An array in an array, so deep."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value
