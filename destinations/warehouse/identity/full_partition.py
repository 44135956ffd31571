"""Groups of all identifiers of a graph, in compact arrays of a few bytes per identifier."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

KEY_BYTES = 16


class NumberedRows:
    """Rows in ascending order of their numbers; the place of a row is its position from 0."""

    def __init__(self) -> None:
        self.numbers = array("q")

    def place(self, number: int) -> int:
        """The place of a number; -1 if there is none."""
        place = bisect_left(self.numbers, number)
        is_there = place < len(self.numbers) and self.numbers[place] == number
        return place if is_there else -1


class Partition(NumberedRows):
    """Identifiers, each in its own group until join() connects groups.

    The place of one member, the top, stands for the group.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ages = array("q")
        self._keys = bytearray()
        self._parents = array("q")
        self._sizes = array("q")
        self._oldest = array("q")
        self._lowest = array("q")

    def add(self, number: int, age: int, key: bytes) -> None:
        """Numbers ascend; the age is the time of the first sighting in any unit."""
        place = len(self.numbers)
        self.numbers.append(number)
        self._ages.append(age)
        self._keys += key
        for places in (self._parents, self._oldest, self._lowest):
            places.append(place)
        self._sizes.append(1)

    def top(self, place: int) -> int:
        parents = self._parents
        while (parent := parents[place]) != place:
            parents[place] = place = parents[parent]
        return place

    def join(self, a: int, b: int) -> None:
        a, b = self.top(a), self.top(b)
        if a == b:
            return
        if self._sizes[a] < self._sizes[b]:
            a, b = b, a
        self._parents[b] = a
        self._sizes[a] += self._sizes[b]
        self._oldest[a] = min(self._oldest[a], self._oldest[b], key=self._age)
        self._lowest[a] = min(self._lowest[a], self._lowest[b])

    def tops(self) -> Iterator[int]:
        return (place for place in range(len(self.numbers)) if self._parents[place] == place)

    def size(self, top: int) -> int:
        return self._sizes[top]

    def anchor(self, top: int) -> tuple[int, bytes]:
        """Age and key of the oldest member; the least key decides between equally old ones."""
        return self._age(self._oldest[top])

    def group_number(self, top: int) -> int:
        """The least number in the group."""
        return self.numbers[self._lowest[top]]

    def _age(self, place: int) -> tuple[int, bytes]:
        start = place * KEY_BYTES
        return self._ages[place], bytes(self._keys[start : start + KEY_BYTES])


class StoredGroups(NumberedRows):
    """Stored groups with their root; roots also have a size and an anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.roots = array("q")
        self._sizes = array("q")
        self._ages = array("q")
        self._keys = bytearray()

    def add(
        self, number: int, root: int, size: int | None, age: int | None, key: bytes | None
    ) -> None:
        """Numbers ascend."""
        self.numbers.append(number)
        self.roots.append(root)
        self._sizes.append(-1 if size is None else size)
        self._ages.append(-1 if age is None else age)
        self._keys += key or bytes(KEY_BYTES)

    def root(self, number: int) -> int:
        """The root of a group; -1 if the group has no row."""
        place = self.place(number)
        return -1 if place < 0 else self.roots[place]

    def is_root(self, number: int) -> bool:
        place = self.place(number)
        return place >= 0 and self.roots[place] == number

    def profile(self, root: int) -> tuple[int, tuple[int, bytes]]:
        """Size and anchor in a root's row."""
        place = self.place(root)
        key = bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])
        return self._sizes[place], (self._ages[place], key)
