"""All identifiers of a graph with the groups that its links make, in a few bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

KEY_BYTES = 16


class NumberedRows:
    """Rows in the order of their numbers; the place of a row is its position, from 0."""

    def __init__(self) -> None:
        self.numbers = array("q")

    def place(self, number: int) -> int:
        """-1 for a number that is not there."""
        place = bisect_left(self.numbers, number)
        found = place < len(self.numbers) and self.numbers[place] == number
        return place if found else -1


class Partition(NumberedRows):
    """Identifiers, each in a group of its own until join() connects them.

    A group is told by the place of one of its members, its top.
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
        """Numbers ascend; the age is that of the first sighting, in any unit."""
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
        """Age and key of the oldest member; of equally old ones that of the least key."""
        return self._age(self._oldest[top])

    def group_number(self, top: int) -> int:
        """The least number of the group."""
        return self.numbers[self._lowest[top]]

    def _age(self, place: int) -> tuple[int, bytes]:
        start = place * KEY_BYTES
        return self._ages[place], bytes(self._keys[start : start + KEY_BYTES])


class StoredGroups(NumberedRows):
    """Groups as they are stored: of each the root, and of roots size and anchor."""

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
        """The root of a group; -1 when the group has no row."""
        place = self.place(number)
        return -1 if place < 0 else self.roots[place]

    def is_root(self, number: int) -> bool:
        place = self.place(number)
        return place >= 0 and self.roots[place] == number

    def profile(self, root: int) -> tuple[int, tuple[int, bytes]]:
        """Size and anchor that a root's row says."""
        place = self.place(root)
        key = bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])
        return self._sizes[place], (self._ages[place], key)
