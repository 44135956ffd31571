"""The first steps of a new instance, and a command to paste until all of them are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from destinations.models import Connection, Destination
from destinations.warehouse.rows.reserved_names import EVENT_TABLES
from events.models import Load
from rudderhub.admin.data.snippets import snippets
from sources.models import Source, WriteKey


@dataclass(frozen=True)
class FirstStep:
    """A first step, and what to do next if it is not done."""

    title: str
    done: bool
    next_step: str
    url: str


class FirstCommand(NamedTuple):
    """A command that sends a first event to a source."""

    source: Source
    code: str


def first_steps(now: datetime, newest: int) -> list[FirstStep]:
    """The first steps; `newest` is the id of the last event, 0 in an empty log."""
    loaded = Load.objects.filter(events__gt=0)
    resolving = [
        destination.pk
        for destination in Destination.objects.all()
        if destination.config.get("resolve_identities", True)
    ]
    return [
        FirstStep(
            "Write key created",
            WriteKey.objects.active(now).exists(),
            "Add a source. It comes with a write key.",
            reverse("admin:sources_source_add"),
        ),
        FirstStep(
            "Event received",
            newest > 0,
            "Send one from a source. Its page has snippets to paste.",
            reverse("admin:sources_source_changelist"),
        ),
        FirstStep("Row in the warehouse", loaded.exists(), *_row_step(newest)),
        FirstStep(
            "Person resolved", _is_person_resolved(loaded, resolving), *_person_step(resolving)
        ),
    ]


def first_command(
    request: HttpRequest, now: datetime, steps: Sequence[FirstStep]
) -> FirstCommand | None:
    """The command; None if all steps are done, or without a key or the permission."""
    if all(step.done for step in steps) or not request.user.has_perm("sources.change_source"):
        return None
    keys = WriteKey.objects.active(now).filter(source__enabled=True).select_related("source")
    key = keys.order_by("source_id", "-created_at").first()
    if key is None:
        return None
    curl, *_ = snippets(settings.DATA_PLANE_URL, key.key)
    return FirstCommand(key.source, curl.code)


def _row_step(newest: int) -> tuple[str, str]:
    connections = reverse("admin:destinations_connection_changelist")
    if not Connection.objects.exists():
        return "Connect a source to a destination.", connections
    if not newest:
        return "Appears automatically, seconds after the first event.", connections
    return "Appears within seconds. If not, the connection shows why.", connections


def _person_step(resolving: Sequence[int]) -> tuple[str, str]:
    destinations = reverse("admin:destinations_destination_changelist")
    if resolving or not Destination.objects.exists():
        return "Appears with the first row of an event that has a user id.", destinations
    return "Turn on identity resolution in a destination.", destinations


def _is_person_resolved(loaded: QuerySet[Load], resolving: Sequence[int]) -> bool:
    loaded = loaded.filter(rows__has_any_keys=list(EVENT_TABLES.values()))
    return loaded.filter(connection__destination__in=resolving).exists()
