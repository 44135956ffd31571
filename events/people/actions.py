"""What an operator can do to identities: each runs dry first and returns what to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from destinations.interface import DestinationError
from destinations.models import Destination, Erasure
from destinations.postgres.config import PostgresConfig
from destinations.postgres.identity import schema
from destinations.postgres.operations import guards, unmerge
from destinations.postgres.operations.operation import OperationResult
from destinations.postgres.reads import profiles
from destinations.postgres.reads.explain import PathStep
from destinations.warehouse.identity.erasure import DELETE
from destinations.warehouse.identity.statements import Identifier
from events.people import erasure, store
from events.people.erasure_preview import ErasurePreview, ReportProgress, preview_erasure
from events.people.store import IdentityStore

Line = tuple[str, str]
Form = Mapping[str, list[str]]
"""What was sent: of a field the values, of which the last counts."""
COUNT_SECONDS = 5.0
"""How long a dry run may count in each table of the instance; the log may be long."""
LIMITS = ("hub_limit", "size_limit")


@dataclass(frozen=True)
class Effect:
    """What an action does: counts by name, links it cuts, identifiers it erases, profiles."""

    lines: Sequence[Line] = ()
    cut: Sequence[unmerge.Pair] = ()
    erased: Sequence[Identifier] = ()
    path: Sequence[PathStep] = ()
    """What still joins the sides of a cut."""
    requested: Erasure | None = None
    """What a worker does from now on."""
    outcome: OperationResult = field(default_factory=lambda: OperationResult({}, []))


@dataclass(frozen=True)
class ActionRequest:
    """One action, with what its form holds: keys in place of stored values."""

    destination: Destination
    people: IdentityStore
    form: Form
    actor: str
    dry_run: bool
    tell: ReportProgress
    count_seconds: float = COUNT_SECONDS

    @property
    def options(self) -> dict[str, Any]:
        return {"actor": self.actor, "dry_run": self.dry_run}

    @property
    def reason(self) -> str:
        return self.text("reason")

    def typed(self, name: str) -> str:
        """As it was sent, also when that is only space."""
        return (self.form.get(name) or [""])[-1]

    def text(self, name: str) -> str:
        return self.typed(name).strip()

    def number(self, name: str) -> int:
        text = self.text(name)
        if not text.isdecimal():
            raise DestinationError(f"the {name} is {text!r}, expected its number")
        return int(text)

    def pairs(self) -> list[unmerge.Pair]:
        """The links whose keys the form has."""
        links = [[_key(key) for key in text.split(" ")] for text in self.form.get("link", ())]
        if any(len(link) != 2 for link in links):  # noqa: PLR2004 - a link has two ends
            raise DestinationError("a link has two identifiers")
        named = self.named(*(key for link in links for key in link))
        return [(named[a], named[b]) for a, b in links]

    def named(self, *keys: UUID) -> dict[UUID, Identifier]:
        found = profiles.named(self.people.conn, self.people.schema, keys)
        if not found.keys() >= set(keys):
            raise DestinationError("an identifier of this action is no longer stored")
        return found


@dataclass(frozen=True)
class Action:
    title: str
    verb: str
    run: Callable[[ActionRequest], Effect]
    needs: str = "destinations.change_destination"
    note: str = ""
    """What the preview says beside its counts."""


def _cut(act: ActionRequest) -> Effect:
    """One link or some, all links of an identifier, of an event, or of a merge."""
    options = act.options | {"reason": act.reason}
    if act.text("merge"):
        done = _undo_merge(act, options)
    elif message := act.text("message"):
        stated = store.stated_pairs(act.destination, act.people, message)
        more_pairs = [*stated, *act.pairs()]
        done = unmerge.unmerge_event(*act.people.args, message, more_pairs=more_pairs, **options)
    elif act.text("identifier"):
        key = _key(act.text("identifier"))
        done = unmerge.unmerge_identifier(*act.people.args, act.named(key)[key], **options)
    else:
        done = unmerge.unmerge_links(*act.people.args, act.pairs(), **options)
    return Effect(cut=done.cut, path=done.path, outcome=done.outcome)


def _undo_merge(act: ActionRequest, options: dict[str, Any]) -> unmerge.UnmergeResult:
    """Cut all that the event of the merge stated, and see whether the two ids come apart."""
    merge = profiles.merge(act.people.conn, act.people.schema, act.number("merge"))
    if not merge.can_be_undone:
        raise DestinationError("this merge has no active link to cut")
    named = act.named(merge.key_a, merge.key_b, merge.old, merge.new)
    stated = store.stated_pairs(act.destination, act.people, merge.message_id)
    return unmerge.unmerge_event(
        *act.people.args,
        merge.message_id,
        more_pairs=[(named[merge.key_a], named[merge.key_b]), *stated, *act.pairs()],
        sides=(named[merge.old], named[merge.new]),
        **options,
    )


def _undo(act: ActionRequest) -> Effect:
    return Effect(outcome=unmerge.restore_links(*act.people.args, act.pairs(), **act.options))


def _release(act: ActionRequest) -> Effect:
    return Effect(outcome=unmerge.release_links(*act.people.args, act.pairs(), **act.options))


def _erase(act: ActionRequest) -> Effect:
    identifiers, mode = _to_erase(act), act.text("mode") or DELETE
    concerned = (act.destination, act.people, identifiers)
    if act.dry_run:
        found = preview_erasure(*concerned, mode=mode, max_seconds=act.count_seconds, tell=act.tell)
        return Effect(_counts(found), erased=identifiers)
    made = erasure.request(*concerned, mode=mode, actor=act.actor, reason=act.reason)
    return Effect(erased=identifiers, requested=made)


def _to_erase(act: ActionRequest) -> list[Identifier]:
    """One identifier, by key or typed with its type; else the whole profile of a value or id."""
    value, kind = act.typed("value"), act.text("type")
    if act.text("identifier"):
        return list(act.named(_key(act.text("identifier"))).values())
    is_one = act.text("scope") == "identifier"
    if is_one and not (kind and value.strip()):
        raise DestinationError("enter the type and the value of the identifier")
    return erasure.identifiers_to_erase(act.people, value, kind or None, whole_profile=not is_one)


def _counts(found: ErasurePreview) -> list[Line]:
    """The warehouse is counted whole; of a long log the newest part."""
    return [
        (table, f"at least {n:,}, in the newest part" if table in found.at_least else f"{n:,}")
        for table, n in found.counts.items()
    ]


def _add_rule(act: ActionRequest) -> Effect:
    done = guards.add_rule(
        *act.people.args,
        exact=act.typed("exact") or None,
        pattern=act.typed("pattern") or None,
        id_type=act.text("id_type") or None,
        action=act.text("rule_action") or "block",
        **act.options,
    )
    return _changed(done)


def _remove_rule(act: ActionRequest) -> Effect:
    return _changed(guards.remove_rule(*act.people.args, act.number("rule"), **act.options))


def _limits(act: ActionRequest) -> Effect:
    stored = schema.read_meta(act.people.conn, act.people.schema).options
    given: dict[str, Any] = {name: _limit(act.text(name)) for name in LIMITS if name in act.form}
    if "null_clears" in act.form:
        given["null_clears"] = act.text("null_clears") == "yes"
    if "trait_identifiers" in act.form:
        given["trait_identifiers"] = _traits(act)
    changes = {name: value for name, value in given.items() if value != getattr(stored, name)}
    lines = [(name.replace("_", " ").capitalize(), _told(value)) for name, value in changes.items()]
    outcome = guards.set_options(*act.people.args, changes, **act.options)
    if "trait_identifiers" in changes and not act.dry_run:
        act.destination.config["trait_identifiers"] = ", ".join(changes["trait_identifiers"])
        act.destination.save(update_fields=["config", "updated_at"])
    return Effect(lines or [("No changes", "")], outcome=outcome)


def _told(value: bool | int | tuple[str, ...] | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value or "off")


def _traits(act: ActionRequest) -> tuple[str, ...]:
    """As the destination's own form takes them: both say the same afterwards."""
    given = {**act.destination.config, "trait_identifiers": act.text("trait_identifiers")}
    return PostgresConfig.from_config(given, act.destination.secrets or {}).traits() or ()


def _limit(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise DestinationError(f"a limit is {text!r}, expected a number, or empty for none")
    return int(text)


def _changed(done: guards.BlockListChange) -> Effect:
    hidden = ("Stored identifiers hidden", f"{done.hidden:,}")
    return Effect(
        [hidden, ("Stored identifiers shown again", f"{done.shown:,}")], outcome=done.outcome
    )


def _key(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise DestinationError("an identifier is named by its key") from error


ACTIONS = {
    "cut": Action("Cut links", "Cut", _cut),
    "undo": Action("Restore cut links", "Restore", _undo),
    "release": Action("Release a blocked merge", "Release", _release),
    "erase": Action(
        "Erase a person",
        "Erase permanently",
        _erase,
        "destinations.add_erasure",
        "A worker erases everything. The page of the request shows the progress and the final "
        "counts.",
    ),
    "add_rule": Action("Add a rule", "Add", _add_rule),
    "remove_rule": Action("Remove a rule", "Remove", _remove_rule),
    "limits": Action("Change the limits", "Change", _limits),
}
