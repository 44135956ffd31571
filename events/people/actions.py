"""The actions of an operator on identities: each runs dry first and returns its effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from destinations.interface import DestinationError
from destinations.models import Destination, Erasure
from destinations.postgres.config import PostgresConfig
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import guards, unmerge
from destinations.postgres.operations.operation import Operation, OperationResult
from destinations.postgres.reads import profiles
from destinations.postgres.reads.explain import PathStep
from destinations.warehouse.identity.erasure import DELETE
from destinations.warehouse.identity.statements import Identifier
from events.people import erasure, store
from events.people.erasure_preview import ReportProgress, preview_erasure
from events.people.store import IdentityStore

Line = tuple[str, str]
Form = Mapping[str, list[str]]
"""The values of a form by field; the last value of a field counts."""
COUNT_SECONDS = 5.0
"""The time for a dry run to count each table of the instance; the log may be long."""
LIMITS = ("hub_limit", "size_limit")


@dataclass(frozen=True)
class Effect:
    lines: Sequence[Line] = ()
    """Names and values to show, such as counts by table."""
    cut: Sequence[unmerge.Pair] = ()
    """Links that the action cuts."""
    erased: Sequence[Identifier] = ()
    path: Sequence[PathStep] = ()
    """The links that still join the two sides of a cut."""
    requested: Erasure | None = None
    """The erasure that a worker runs from now on."""
    outcome: OperationResult = field(default_factory=lambda: OperationResult({}, []))


@dataclass(frozen=True)
class ActionRequest:
    """A request to run an action; its form names identifiers by their keys."""

    destination: Destination
    identities: IdentityStore
    form: Form
    actor: str
    dry_run: bool
    report: ReportProgress
    count_seconds: float = COUNT_SECONDS

    def operation(self) -> AbstractContextManager[Operation]:
        return self.identities.operation(self.actor, dry_run=self.dry_run)

    def raw_text(self, name: str) -> str:
        """The value with its spaces, which an identifier may have."""
        return (self.form.get(name) or [""])[-1]

    def text(self, name: str) -> str:
        return self.raw_text(name).strip()

    def number(self, name: str) -> int:
        text = self.text(name)
        if not text.isdecimal():
            raise DestinationError(f"the {name} is {text!r}, expected its number")
        return int(text)

    def pairs(self) -> list[unmerge.Pair]:
        """The links in the form; raises DestinationError if an identifier is no longer stored."""
        links = [[_key(key) for key in text.split(" ")] for text in self.form.get("link", ())]
        if any(len(link) != 2 for link in links):  # noqa: PLR2004 - a link has two ends
            raise DestinationError("a link has two identifiers")
        identifiers = self.identifiers_by_key(*(key for link in links for key in link))
        return [(identifiers[a], identifiers[b]) for a, b in links]

    def identifier(self) -> Identifier:
        key = _key(self.text("identifier"))
        return self.identifiers_by_key(key)[key]

    def identifiers_by_key(self, *keys: UUID) -> dict[UUID, Identifier]:
        identifiers = profiles.identifiers_by_key(
            self.identities.conn, self.identities.schema, keys
        )
        if not identifiers.keys() >= set(keys):
            raise DestinationError("an identifier of this action is no longer stored")
        return identifiers


@dataclass(frozen=True)
class Action:
    title: str
    verb: str
    run: Callable[[ActionRequest], Effect]
    needs: str = "destinations.change_destination"
    note: str = ""
    """A text beside the counts of the preview."""


def _cut_links(request: ActionRequest) -> Effect:
    """Cut some links, or all links of an identifier, an event or a merge."""
    reason = request.text("reason")
    if request.text("merge"):
        result = _undo_merge(request, reason)
    elif message_id := request.text("message"):
        pairs = _event_pairs(request, message_id)
        with request.operation() as op:
            result = unmerge.unmerge_event(op, message_id, reason, more_pairs=pairs)
    elif request.text("identifier"):
        identifier = request.identifier()
        with request.operation() as op:
            result = unmerge.unmerge_identifier(op, identifier, reason)
    else:
        pairs = request.pairs()
        with request.operation() as op:
            result = unmerge.unmerge_links(op, pairs, reason)
    return Effect(cut=result.cut, path=result.path, outcome=result.outcome)


def _undo_merge(request: ActionRequest, reason: str) -> unmerge.UnmergeResult:
    """Cut all links of the merge's event; the result shows whether the two profiles separate."""
    identities = request.identities
    merge = profiles.merge_record(identities.conn, identities.schema, request.number("merge"))
    if not merge.can_be_undone:
        raise DestinationError("this merge has no active link to cut")
    identifiers = request.identifiers_by_key(merge.key_a, merge.key_b, merge.old, merge.new)
    link = identifiers[merge.key_a], identifiers[merge.key_b]
    pairs = [link, *_event_pairs(request, merge.message_id)]
    sides = identifiers[merge.old], identifiers[merge.new]
    with request.operation() as op:
        return unmerge.unmerge_event(op, merge.message_id, reason, more_pairs=pairs, sides=sides)


def _event_pairs(request: ActionRequest, message_id: str) -> list[unmerge.Pair]:
    """The links that an event states, and those that the form has."""
    stated = store.stated_pairs(request.destination, request.identities, message_id)
    return [*stated, *request.pairs()]


def _restore_links(request: ActionRequest) -> Effect:
    pairs = request.pairs()
    with request.operation() as op:
        return Effect(outcome=unmerge.restore_links(op, pairs))


def _release_merge(request: ActionRequest) -> Effect:
    pairs = request.pairs()
    with request.operation() as op:
        return Effect(outcome=unmerge.release_links(op, pairs))


def _erase_person(request: ActionRequest) -> Effect:
    identifiers, mode = _identifiers_to_erase(request), request.text("mode") or DELETE
    args = (request.destination, request.identities, identifiers)
    if not request.dry_run:
        reason = request.text("reason")
        requested = erasure.request(*args, mode=mode, actor=request.actor, reason=reason)
        return Effect(erased=identifiers, requested=requested)
    preview = preview_erasure(
        *args, mode=mode, max_seconds=request.count_seconds, report=request.report
    )
    lines = [
        (table, f"at least {n:,}, in the newest part" if table in preview.at_least else f"{n:,}")
        for table, n in preview.counts.items()
    ]
    return Effect(lines, erased=identifiers)


def _identifiers_to_erase(request: ActionRequest) -> list[Identifier]:
    """One identifier, by its key or its type and value, or all of the profile with this value."""
    value, id_type = request.raw_text("value"), request.text("type")
    if request.text("identifier"):
        return [request.identifier()]
    is_one = request.text("scope") == "identifier"
    if is_one and not (id_type and value.strip()):
        raise DestinationError("enter the type and the value of the identifier")
    return erasure.identifiers_to_erase(
        request.identities, value, id_type or None, whole_profile=not is_one
    )


def _add_rule(request: ActionRequest) -> Effect:
    with request.operation() as op:
        result = guards.add_rule(
            op,
            exact=request.raw_text("exact") or None,
            pattern=request.raw_text("pattern") or None,
            id_type=request.text("id_type") or None,
            action=request.text("rule_action") or "block",
        )
    return _rule_effect(result)


def _remove_rule(request: ActionRequest) -> Effect:
    number = request.number("rule")
    with request.operation() as op:
        return _rule_effect(guards.remove_rule(op, number))


def _rule_effect(result: guards.BlockListChange) -> Effect:
    lines = [
        ("Stored identifiers hidden", f"{result.hidden:,}"),
        ("Stored identifiers shown again", f"{result.shown:,}"),
    ]
    return Effect(lines, outcome=result.outcome)


def _set_limits(request: ActionRequest) -> Effect:
    """Change the limits that the form has and that differ from the stored ones."""
    identities, destination = request.identities, request.destination
    stored = graph_schema.read_meta(identities.conn, identities.schema).options
    options: dict[str, Any] = {
        name: _limit(request.text(name)) for name in LIMITS if name in request.form
    }
    if "null_clears" in request.form:
        options["null_clears"] = request.text("null_clears") == "yes"
    if "trait_identifiers" in request.form:
        options["trait_identifiers"] = _trait_identifiers(request)
    changes = {name: value for name, value in options.items() if value != getattr(stored, name)}
    with request.operation() as op:
        outcome = guards.set_options(op, changes)
    if "trait_identifiers" in changes and not request.dry_run:
        destination.config["trait_identifiers"] = ", ".join(changes["trait_identifiers"])
        destination.save(update_fields=["config", "updated_at"])
    lines = [
        (name.replace("_", " ").capitalize(), _option_text(value))
        for name, value in changes.items()
    ]
    return Effect(lines or [("No changes", "")], outcome=outcome)


def _option_text(value: bool | int | tuple[str, ...] | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value or "off")


def _trait_identifiers(request: ActionRequest) -> tuple[str, ...]:
    """The traits as the destination's own form reads them, since its config stores them."""
    destination, traits = request.destination, request.text("trait_identifiers")
    config = {**destination.config, "trait_identifiers": traits}
    return PostgresConfig.from_config(config, destination.secrets or {}).traits() or ()


def _limit(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise DestinationError(f"a limit is {text!r}, expected a number, or empty for none")
    return int(text)


def _key(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise DestinationError("an identifier is named by its key") from error


ACTIONS = {
    "cut": Action("Cut links", "Cut", _cut_links),
    "undo": Action("Restore cut links", "Restore", _restore_links),
    "release": Action("Release a blocked merge", "Release", _release_merge),
    "erase": Action(
        "Erase a person",
        "Erase permanently",
        _erase_person,
        "destinations.add_erasure",
        "A worker erases everything. The page of the request shows the progress and the final "
        "counts.",
    ),
    "add_rule": Action("Add a rule", "Add", _add_rule),
    "remove_rule": Action("Remove a rule", "Remove", _remove_rule),
    "limits": Action("Change the limits", "Change", _set_limits),
}
