"""Changes of identities that somebody asks for in the admin: counted, shown, confirmed, made.

Counting and making may take long and wait for loads, so a worker does both. The warehouse makes a
change wholly or not at all. A worker that is killed while it counts has another count anew; one
that is killed while it makes the change leaves it failed, for nobody may make it twice.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime, timedelta
from time import monotonic
from traceback import format_tb
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import ChangeState, Destination, IdentityChange
from destinations.postgres.connection import primary_message
from events.log.database import log_reader
from events.people.actions import ACTIONS, ActionRequest, Effect, Form
from events.people.erasure_preview import ReportProgress
from events.people.store import connect
from events.workers import audit, queue
from events.workers.locks import Lock, try_lock

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
SHOWN = 50
"""Entries that are kept of each list of an effect, beside their count."""
TOLD_SECONDS = 0.3
CUT_SHORT = (
    "A worker was stopped during this change. It was made completely or not at all. Check which, "
    "and try again if it was not made."
)


def request(destination: Destination, user_pk: int, action: str, form: Form) -> IdentityChange:
    """A new one, which a worker counts."""
    change = IdentityChange.objects.create(
        destination=destination,
        user_id=user_pk,
        action=action,
        form=dict(form),
        profile=_profile(form),
    )
    queue.try_enqueue(change.pk, queue.Work.CHANGE)
    return change


def confirm(change: IdentityChange, reason: str) -> bool:
    """Confirm the change, so that a worker makes it; False if it was confirmed before."""
    form = {**change.form, "reason": [reason]}
    anew: dict[str, Any] = {"step": "", "percent": None, "created_at": timezone.now()}
    is_first = _save(change, ChangeState.COUNTED, state=ChangeState.CONFIRMED, form=form, **anew)
    if is_first:
        queue.try_enqueue(change.pk, queue.Work.CHANGE)
    return is_first


def delete_old(now: datetime) -> None:
    IdentityChange.objects.deletable().filter(created_at__lt=now - KEPT).delete()


def advance(change_pk: int) -> None:
    """Count or make it, unless another worker does."""
    with log_reader() as reader, try_lock(reader, Lock.CHANGE, change_pk) as taken:
        change = IdentityChange.objects.awaiting_worker().filter(pk=change_pk).first()
        if not taken or change is None:
            return
        match change.state:
            case ChangeState.COUNTING:
                _count(change)
            case ChangeState.CONFIRMED:
                _make(change)
            case ChangeState.RUNNING:
                _end_cut_short(change)


def _count(change: IdentityChange) -> None:
    effect = _tried(change, dry_run=True)
    if effect is not None:
        _save(change, ChangeState.COUNTING, state=ChangeState.COUNTED, effect=effect_json(effect))


def _make(change: IdentityChange) -> None:
    is_mine = _save(change, ChangeState.CONFIRMED, state=ChangeState.RUNNING, effect={})
    effect = _tried(change, dry_run=False) if is_mine else None
    if effect is None:
        return
    with transaction.atomic():
        shown = {} if effect.requested else effect_json(effect)
        done = {"effect": shown, "erasure": effect.requested, "form": {}}
        _save(change, ChangeState.RUNNING, state=ChangeState.DONE, **done)
        _log(change, f"{ACTIONS[change.action].title}.")
    if effect.requested:
        queue.try_enqueue(effect.requested.pk, queue.Work.ERASURE)


def _end_cut_short(change: IdentityChange) -> None:
    with transaction.atomic():
        _fail(change, CUT_SHORT)
        _log(change, f"{ACTIONS[change.action].title}: a worker was stopped during it.")


def _log(change: IdentityChange, said: str) -> None:
    audit.log_action(change.user_id, change.destination, said)


def _tried(change: IdentityChange, *, dry_run: bool) -> Effect | None:
    """The effect of the change; None if it failed, with the error kept in the change."""
    try:
        with connect(change.destination) as people:
            tell = _teller(change)
            tell("identities", None)
            actor = change.user.get_username()
            act = ActionRequest(change.destination, people, change.form, actor, dry_run, tell)
            return ACTIONS[change.action].run(act)
    except (DestinationError, DestinationUnavailableError) as error:
        _fail(change, f"{error}.")
    except psycopg.Error as error:
        _fail(change, f"Error from the warehouse: {primary_message(error)}.")
    except Exception as error:  # noqa: BLE001 - the change keeps it
        kind, frames = type(error).__name__, "".join(format_tb(error.__traceback__))
        logger.error("change broke change=%s\n%s%s", change.pk, frames, kind)  # noqa: TRY400
        _fail(change, f"It failed with {kind}. See the worker's log.")  # not what: it may quote
    return None


def _teller(change: IdentityChange) -> ReportProgress:
    told = 0.0

    def tell(step: str, share: float | None) -> None:
        nonlocal told
        if step != change.step or monotonic() - told > TOLD_SECONDS:
            percent = None if share is None else int(100 * share)
            _save(change, change.state, step=step, percent=percent)
            told = monotonic()

    return tell


def effect_json(effect: Effect) -> dict[str, Any]:
    """What is shown of it."""
    outcome = effect.outcome
    return {
        "lines": [list(line) for line in effect.lines],
        "cut": [[list(end) for end in pair] for pair in effect.cut[:SHOWN]],
        "erased": [list(each) for each in effect.erased[:SHOWN]],
        "path": [
            asdict(step) | {"received_at": step.received_at and step.received_at.isoformat()}
            for step in effect.path
        ],
        "after": [
            [str(row.rudder_id), _first_ones(row.identifiers), row.identifier_count]
            for row in outcome.after[:SHOWN]
        ],
        "counts": [len(outcome.before), len(outcome.after), len(effect.erased), len(effect.cut)],
        "moved": outcome.moved,
    }


def _first_ones(identifiers: dict[str, list[str]]) -> dict[str, list[str]]:
    return {kind: values[:SHOWN] for kind, values in identifiers.items()}


def _fail(change: IdentityChange, error: str) -> None:
    _save(change, change.state, state=ChangeState.FAILED, error=error)


def _save(change: IdentityChange, was: str, **fields: Any) -> bool:
    """False when it is not in that state any more, or is gone."""
    for name, value in fields.items():
        setattr(change, name, value)
    return bool(IdentityChange.objects.filter(pk=change.pk, state=was).update(**fields))


def _profile(form: Form) -> UUID | None:
    try:
        return UUID((form.get("profile") or [""])[-1])
    except ValueError:
        return None
