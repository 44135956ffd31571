"""What an operator can do to identities: each runs dry first and returns what to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from destinations.interface import DestinationError
from destinations.models import Destination
from destinations.postgres import erase, guards, unmerge
from destinations.postgres.operations import Outcome
from destinations.warehouse.identity import Identifier
from events.erasures import erase_identifiers
from events.people import People

Data = Mapping[str, str]
Line = tuple[str, str]
SHOWN = 50


@dataclass(frozen=True)
class Act:
    """One action, with what its form holds."""

    destination: Destination
    people: People
    data: Data
    actor: str
    dry_run: bool

    @property
    def options(self) -> dict[str, Any]:
        return {"actor": self.actor, "dry_run": self.dry_run}

    @property
    def pair(self) -> unmerge.Pair:
        return (self.identifier("a"), self.identifier("b"))

    def identifier(self, name: str) -> Identifier:
        return Identifier(self.data.get(f"type_{name}", ""), self.data.get(f"value_{name}", ""))


@dataclass(frozen=True)
class Action:
    title: str
    verb: str
    run: Callable[[Act], list[Line]]
    needs: str = "destinations.change_destination"


def _cut(act: Act) -> list[Line]:
    reason = act.data.get("reason", "")
    if act.data.get("message"):
        done = unmerge.unmerge_event(
            *act.people.graph, act.data["message"], reason=reason, **act.options
        )
    elif act.data.get("value_b"):
        done = unmerge.unmerge_links(*act.people.graph, [act.pair], reason=reason, **act.options)
    else:
        done = unmerge.unmerge_identifier(
            *act.people.graph, act.identifier("a"), reason=reason, **act.options
        )
    lines = [("Link cut", f"{a.type} {a.value} - {b.type} {b.value}") for a, b in done.cut]
    if done.path:
        ways = " - ".join([*(s.from_value or "" for s in done.path), done.path[-1].to_value or ""])
        lines.append(("Nothing splits: this path remains", ways))
    return lines[:SHOWN] + _outcome(done.outcome)


def _undo(act: Act) -> list[Line]:
    return _outcome(unmerge.undo(*act.people.graph, [act.pair], **act.options))


def _release(act: Act) -> list[Line]:
    return _outcome(unmerge.release(*act.people.graph, [act.pair], **act.options))


def _erase(act: Act) -> list[Line]:
    """With a type one identifier, else the whole profile of the value."""
    people, value = act.people, act.data.get("value_a", "")
    if act.data.get("type_a"):
        identifiers = [act.identifier("a")]
    else:
        identifiers = erase.members(people.conn, people.schema, value)
    receipt = erase_identifiers(
        act.destination,
        people,
        identifiers,
        mode=act.data.get("mode", "delete"),
        reason=act.data.get("reason", ""),
        **act.options,
    )
    named = [("Identifier", f"{each.type} {each.value}") for each in identifiers[:SHOWN]]
    return named + [(table, f"{n:,}") for table, n in receipt.erasure.counts.items()]


def _add_rule(act: Act) -> list[Line]:
    data = act.data
    done = guards.add_rule(
        *act.people.graph,
        exact=data.get("exact") or None,
        pattern=data.get("pattern") or None,
        id_type=data.get("id_type") or None,
        action=data.get("rule_action", "block"),
        **act.options,
    )
    return _changed(done)


def _remove_rule(act: Act) -> list[Line]:
    number = int(act.data.get("rule", "0") or 0)
    return _changed(guards.remove_rule(*act.people.graph, number, **act.options))


def _limits(act: Act) -> list[Line]:
    changes = {name: _limit(act.data.get(name, "")) for name in ("hub_limit", "size_limit")}
    lines = [(name.replace("_", " "), str(value or "off")) for name, value in changes.items()]
    return lines + _outcome(guards.set_options(*act.people.graph, changes, **act.options))


def _limit(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise DestinationError(f"a limit is {text!r}, expected a number, or empty for none")
    return int(text)


def _changed(done: guards.Changed) -> list[Line]:
    hidden = ("Stored identifiers hidden", f"{done.hidden:,}")
    return [hidden, ("Brought back", f"{done.shown:,}"), *_outcome(done.outcome)]


def _outcome(outcome: Outcome) -> list[Line]:
    lines = [("Profiles before", f"{len(outcome.before):,}")]
    lines.append(("Profiles after", f"{len(outcome.after):,}"))
    for row in outcome.after[:SHOWN]:
        listed = "; ".join(f"{kind}: {', '.join(v)}" for kind, v in row.identifiers.items())
        lines.append((f"Profile {row.rudder_id}", listed))
    lines += [(f"Rows of {table} that move", f"{n:,}") for table, n in outcome.moved.items()]
    if outcome.restamp_id is not None:
        lines.append(("Moved in slices", "these rows follow within minutes"))
    return lines


ACTIONS = {
    "cut": Action("Cut links", "Cut", _cut),
    "undo": Action("Take a cut back", "Take back", _undo),
    "release": Action("Release a held merge", "Release", _release),
    "erase": Action("Erase a person", "Erase for good", _erase, "destinations.add_erasure"),
    "add_rule": Action("Add a rule", "Add", _add_rule),
    "remove_rule": Action("Remove a rule", "Remove", _remove_rule),
    "limits": Action("Change the limits", "Change", _limits),
}
