"""Union-find over the profiles that a chunk touches, with the size limit.

Each stored profile is one vertex (Group), so that the work grows with the chunk's links and not
with the size of profiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from destinations.warehouse.identity.fold import Sighting, Span
from destinations.warehouse.identity.statements import Identifier

IN_FORCE, CUT, REFUSED = "+", "-", "r"


class Anchor(NamedTuple):
    """The oldest member of a profile; its key is the profile's id."""

    first_received_at: datetime
    key: UUID


@dataclass(eq=False, slots=True)
class Group:
    """A stored profile, or a new identifier (stored is 0).

    stored counts the component rows with this root, which are repointed if another root survives.
    rudder_id is the published id of the profile.
    """

    root_id: int
    anchor: Anchor
    size: int = 1
    stored: int = 0
    rudder_id: UUID | None = None
    has_row: bool = False
    parent: Group | None = None
    rank: int = 1


@dataclass(eq=False, slots=True)
class Node:
    """An identifier of the chunk; first_received_at is None for a new one."""

    identifier: Identifier
    key: UUID
    sighting: Sighting
    node_id: int
    group: Group
    first_received_at: datetime | None = None
    is_hub: bool = False
    activity: Span | None = None

    @property
    def is_new(self) -> bool:
        return self.first_received_at is None

    @property
    def is_older(self) -> bool:
        """Whether the chunk has an earlier event of a stored identifier."""
        return (
            self.first_received_at is not None
            and self.sighting.received_at < self.first_received_at
        )


@dataclass(eq=False, slots=True)
class Link:
    """A new link of two identifiers; a is b for an identifier that an event states alone."""

    a: Node
    b: Node
    sighting: Sighting
    state: str = IN_FORCE

    @property
    def order(self) -> tuple[datetime, str, Identifier, Identifier]:
        return (
            self.sighting.received_at,
            self.sighting.message_id,
            *sorted((self.a.identifier, self.b.identifier)),
        )  # type: ignore[return-value]


class LostId(NamedTuple):
    """A published id that a profile lost, with the new id and the link that replaced it."""

    old: UUID
    new: UUID
    comp_id: int
    key_a: UUID
    key_b: UUID
    message_id: str


@dataclass(eq=False, slots=True)
class Profile:
    """The profile of a set of joined groups; it keeps the root of the survivor."""

    survivor: Group
    size: int
    stored: int
    anchor: Anchor
    losers: list[Group] = field(default_factory=list)
    lost: list[LostId] = field(default_factory=list)

    @property
    def root_id(self) -> int:
        return self.survivor.root_id

    @property
    def rudder_id(self) -> UUID:
        return self.anchor.key

    @property
    def is_changed(self) -> bool:
        """Whether the component row must be written."""
        survivor = self.survivor
        if self.size == 1:
            return False
        return (self.size, self.anchor) != (survivor.size, survivor.anchor) or not survivor.has_row


def representative(group: Group) -> Group:
    """The group that stands for the joined set of a group; halves the path to it."""
    while group.parent is not None:
        if group.parent.parent is not None:
            group.parent = group.parent.parent
        group = group.parent
    return group


def join_groups(a: Group, b: Group) -> None:
    """Join the sets of two representatives; the one of higher rank stays the representative."""
    if a.rank < b.rank:
        a, b = b, a
    b.parent = a
    a.rank += b.rank


def unite_groups(links: Iterable[Link], size_limit: int | None) -> list[Link]:
    """Join the groups that links connect, earliest link first; returns the links that joined two.

    A link that would make a profile larger than size_limit gets the state REFUSED.
    """
    joined = []
    for link in sorted(links, key=lambda link: link.order):
        a, b = representative(link.a.group), representative(link.b.group)
        if a is b:
            continue
        if size_limit is not None and a.rank + b.rank > size_limit:
            link.state = REFUSED
            continue
        join_groups(a, b)
        joined.append(link)
    return joined


def settled_profiles(
    groups: Iterable[Group], nodes: Iterable[Node], joined: Iterable[Link]
) -> list[Profile]:
    """The profiles of the joined groups, with root, size, anchor and lost ids.

    nodes are the chunk's; a node with an earlier sighting can change its profile's anchor.
    """
    sets: dict[Group, list[Group]] = {}
    for group in groups:
        sets.setdefault(representative(group), []).append(group)
    older: dict[Group, Node] = {}
    for node in nodes:
        if node.is_older:
            top = representative(node.group)
            if top not in older or _anchor(node) < _anchor(older[top]):
                older[top] = node
    cause: dict[Group, Link] = {}
    for link in joined:
        for node in (link.a, link.b):
            cause.setdefault(node.group, link)
    return [_profile(members, older.get(top), cause) for top, members in sets.items()]


def _profile(members: list[Group], older: Node | None, cause: dict[Group, Link]) -> Profile:
    survivor = max(members, key=lambda group: (group.stored, group.size, -group.root_id))
    if survivor.stored == 0:
        survivor = min(members, key=lambda group: group.root_id)
    anchor = min(group.anchor for group in members)
    if older is not None:
        anchor = min(anchor, _anchor(older))
    profile = Profile(
        survivor=survivor,
        size=sum(group.size for group in members),
        stored=max(1, sum(group.stored for group in members)),
        anchor=anchor,
        losers=[group for group in members if group.stored and group is not survivor],
    )
    for group in members:
        if group.rudder_id is not None and group.rudder_id != anchor.key:
            profile.lost.append(_lost_id(group, anchor.key, older, cause.get(group)))
    return profile


def _lost_id(group: Group, new: UUID, older: Node | None, link: Link | None) -> LostId:
    """The id that a group lost to the link that joined it, or to an older member."""
    if link is not None:
        key_a, key_b, message_id = link.a.key, link.b.key, link.sighting.message_id
    elif older is not None:
        key_a, key_b, message_id = older.key, older.key, older.sighting.message_id
    else:
        raise AssertionError(f"the id of group {group.root_id} was lost to nothing")
    return LostId(group.rudder_id or new, new, group.root_id, key_a, key_b, message_id)


def _anchor(node: Node) -> Anchor:
    return Anchor(node.sighting.received_at, node.key)
