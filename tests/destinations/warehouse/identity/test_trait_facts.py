from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.identity.trait_facts import joined_facts, stated_facts, trait_values

START = datetime(2026, 3, 1, tzinfo=UTC)


def _facts(traits, event=0, received=0, message_id="m"):
    return stated_facts(
        traits, START + timedelta(seconds=event), START + timedelta(seconds=received), message_id
    )


stated = st.lists(
    st.builds(
        _facts,
        st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 2)),
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(["m1", "m2"]),
    )
)


def _joined_facts(facts):
    return reduce(joined_facts, facts, {})


@given(stated, st.randoms())
def test_neither_order_nor_repetition_matters(facts, random):
    shuffled = random.sample(facts + facts, 2 * len(facts))

    assert _joined_facts(shuffled) == _joined_facts(facts)


@given(stated, stated)
def test_joining_profiles_is_joining_their_events(ours, theirs):
    assert joined_facts(_joined_facts(ours), _joined_facts(theirs)) == _joined_facts(ours + theirs)


def test_the_latest_event_wins_then_the_latest_receipt_then_the_message_id():
    facts = [
        _facts({"a": "late", "b": "x", "c": "x"}, event=5, received=1),
        _facts({"a": "early"}, event=4, received=9),
        _facts({"b": "y"}, event=5, received=2),
        _facts({"c": "z"}, event=5, received=1, message_id="n"),
    ]

    assert trait_values(_joined_facts(facts), null_clears=False) == {
        "a": "late",
        "b": "y",
        "c": "z",
    }


def test_a_null_clears_only_where_the_option_says_so():
    facts = _joined_facts(
        [_facts({"a": 1, "b": 0}), _facts({"a": None}, event=5), _facts({"c": None})]
    )

    assert trait_values(facts, null_clears=False) == {"a": 1, "b": 0}
    assert trait_values(facts, null_clears=True) == {"b": 0}


def test_arguments_stay_as_they_are():
    ours, theirs = _facts({"a": 1}), _facts({"a": 2, "b": 3}, event=1)

    joined_facts(ours, theirs)

    assert (ours, theirs) == (_facts({"a": 1}), _facts({"a": 2, "b": 3}, event=1))
