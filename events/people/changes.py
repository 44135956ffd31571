"""Changes of identities that users request in the admin: previewed, confirmed, then run.

The preview and the change may take long and wait for loads, so a worker runs both. The warehouse
makes a change completely or not at all. If a worker is stopped during a preview, another repeats
it; if it is stopped during the change, the change is marked as failed, since it must not run twice.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import ChangeState, Destination, IdentityChange
from destinations.postgres.connection import primary_message
from events.log.database import log_reader
from events.people import store
from events.people.actions import ACTIONS, ActionRequest, Effect, Form
from events.people.erasure_preview import ReportProgress
from events.workers import audit, queue
from events.workers.errors import traceback_without_text
from events.workers.locks import Lock, try_lock

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
MAX_LISTED = 50
"""Stored entries of each list of an effect; its count covers all of them."""
REPORT_SECONDS = 0.3
INTERRUPTED = (
    "A worker was stopped during this change. It was made completely or not at all. Check which, "
    "and try again if it was not made."
)


def request(destination: Destination, user_pk: int, action: str, form: Form) -> IdentityChange:
    """A new change, which a worker previews."""
    change = IdentityChange.objects.create(
        destination=destination,
        user_id=user_pk,
        action=action,
        form=dict(form),
        profile=_profile_id(form),
    )
    queue.try_enqueue(change.pk, queue.Work.CHANGE)
    return change


def confirm(change: IdentityChange, reason: str) -> bool:
    """Confirm the change, so that a worker runs it; False if it was confirmed before."""
    is_first = _save(
        change,
        ChangeState.COUNTED,
        state=ChangeState.CONFIRMED,
        form={**change.form, "reason": [reason]},
        step="",
        percent=None,
        created_at=timezone.now(),
    )
    if is_first:
        queue.try_enqueue(change.pk, queue.Work.CHANGE)
    return is_first


def delete_old(now: datetime) -> None:
    IdentityChange.objects.deletable().filter(created_at__lt=now - KEPT).delete()


def advance(change_pk: int) -> None:
    """Preview or run the change, unless another worker does."""
    with log_reader() as reader, try_lock(reader, Lock.CHANGE, change_pk) as taken:
        change = IdentityChange.objects.awaiting_worker().filter(pk=change_pk).first()
        if not taken or change is None:
            return
        match change.state:
            case ChangeState.COUNTING:
                _preview(change)
            case ChangeState.CONFIRMED:
                _run(change)
            case ChangeState.RUNNING:
                with transaction.atomic():
                    _fail(change, INTERRUPTED)
                    text = f"{ACTIONS[change.action].title}: a worker was stopped during it."
                    audit.log_action(change.user_id, change.destination, text)


def _preview(change: IdentityChange) -> None:
    effect = _run_and_record_failure(change, dry_run=True)
    if effect is not None:
        _save(change, ChangeState.COUNTING, state=ChangeState.COUNTED, effect=effect_json(effect))


def _run(change: IdentityChange) -> None:
    is_mine = _save(change, ChangeState.CONFIRMED, state=ChangeState.RUNNING, effect={})
    effect = _run_and_record_failure(change, dry_run=False) if is_mine else None
    if effect is None:
        return
    with transaction.atomic():
        shown = {} if effect.requested else effect_json(effect)
        result = {"effect": shown, "erasure": effect.requested, "form": {}}
        _save(change, ChangeState.RUNNING, state=ChangeState.DONE, **result)
        audit.log_action(change.user_id, change.destination, f"{ACTIONS[change.action].title}.")
    if effect.requested:
        queue.try_enqueue(effect.requested.pk, queue.Work.ERASURE)


def _run_and_record_failure(change: IdentityChange, *, dry_run: bool) -> Effect | None:
    """The effect of the change; None if it failed, with the error in the change."""
    try:
        with store.connect(change.destination) as identities:
            report = _progress_recorder(change)
            report("identities", None)
            actor = change.user.get_username()
            return ACTIONS[change.action].run(
                ActionRequest(change.destination, identities, change.form, actor, dry_run, report)
            )
    except (DestinationError, DestinationUnavailableError) as error:
        _fail(change, f"{error}.")
    except psycopg.Error as error:
        _fail(change, f"Error from the warehouse: {primary_message(error)}.")
    except Exception as error:  # noqa: BLE001 - the change keeps it
        traceback = traceback_without_text(error)
        logger.error("change broke change=%s\n%s", change.pk, traceback)  # noqa: TRY400
        _fail(change, f"It failed with {type(error).__name__}. See the worker's log.")
    return None


def _progress_recorder(change: IdentityChange) -> ReportProgress:
    """Saves each new step at once and its progress every REPORT_SECONDS."""
    saved_at = 0.0

    def report(step: str, share: float | None) -> None:
        nonlocal saved_at
        if step != change.step or monotonic() - saved_at > REPORT_SECONDS:
            percent = None if share is None else int(100 * share)
            _save(change, change.state, step=step, percent=percent)
            saved_at = monotonic()

    return report


def effect_json(effect: Effect) -> dict[str, Any]:
    """The stored form of an effect, with the first entries of long lists."""
    outcome = effect.outcome
    return {
        "lines": [list(line) for line in effect.lines],
        "cut": [[list(end) for end in pair] for pair in effect.cut[:MAX_LISTED]],
        "erased": [list(identifier) for identifier in effect.erased[:MAX_LISTED]],
        "path": [
            asdict(step) | {"received_at": step.received_at and step.received_at.isoformat()}
            for step in effect.path
        ],
        "after": [
            [
                str(profile.rudder_id),
                {kind: values[:MAX_LISTED] for kind, values in profile.identifiers.items()},
                profile.identifier_count,
            ]
            for profile in outcome.after[:MAX_LISTED]
        ],
        "counts": [len(outcome.before), len(outcome.after), len(effect.erased), len(effect.cut)],
        "moved": outcome.moved,
    }


def _fail(change: IdentityChange, error: str) -> None:
    _save(change, change.state, state=ChangeState.FAILED, error=error)


def _save(change: IdentityChange, expected_state: str, **fields: Any) -> bool:
    """Save these fields if the stored change is in the expected state; False if it is not."""
    for name, value in fields.items():
        setattr(change, name, value)
    stored = IdentityChange.objects.filter(pk=change.pk, state=expected_state)
    return bool(stored.update(**fields))


def _profile_id(form: Form) -> UUID | None:
    try:
        return UUID((form.get("profile") or [""])[-1])
    except ValueError:
        return None
