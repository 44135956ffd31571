from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.identity.full_partition import Partition, StoredGroups

NUMBERS = (2, 3, 5, 7, 11, 13)
places = st.integers(0, len(NUMBERS) - 1)
ages = st.lists(st.integers(0, 3), min_size=len(NUMBERS), max_size=len(NUMBERS))


def partition(ages, links):
    made = Partition()
    for number, age in zip(NUMBERS, ages, strict=True):
        made.add(number, age, bytes([number]) * 16)
    for a, b in links:
        made.join(a, b)
    return made


@given(ages, st.lists(st.tuples(places, places)), st.randoms())
def test_groups_and_their_facts_do_not_depend_on_the_order(ages, links, chance):
    one = partition(ages, links)
    other = partition(ages, chance.sample(links, len(links)))

    for place in range(len(NUMBERS)):
        mine, theirs = one.top(place), other.top(place)
        members = [p for p in range(len(NUMBERS)) if one.top(p) == mine]
        assert members == [p for p in range(len(NUMBERS)) if other.top(p) == theirs]
        assert one.size(mine) == other.size(theirs) == len(members)
        assert one.group_number(mine) == other.group_number(theirs) == NUMBERS[members[0]]
        oldest = min((ages[p], bytes([NUMBERS[p]]) * 16) for p in members)
        assert one.anchor(mine) == other.anchor(theirs) == oldest


def test_linked_ends_are_in_one_group_and_others_are_not():
    made = partition([0] * 6, [(0, 1), (1, 4), (2, 3)])

    assert [made.top(place) == made.top(0) for place in range(6)] == [
        *(True, True, False),
        *(False, True, False),
    ]
    assert len(list(made.tops())) == 3


def test_places_are_found_by_number():
    made = partition([0] * 6, [])

    assert [made.place(number) for number in (1, 2, 4, 13, 14)] == [-1, 0, -1, 5, -1]


def test_stored_groups_have_their_root_and_its_row():
    groups = StoredGroups()
    groups.add(3, 3, 2, 10, b"k" * 16)
    groups.add(8, 3, None, None, None)

    assert [groups.root(number) for number in (3, 8, 9)] == [3, 3, -1]
    assert [groups.is_root(number) for number in (3, 8, -1)] == [True, False, False]
    assert groups.profile(3) == (2, (10, b"k" * 16))
