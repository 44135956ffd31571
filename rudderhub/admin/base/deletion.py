"""The page that confirms a deletion, with counts of what is deleted along with the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst
from unfold.admin import ModelAdmin

from destinations.models import Connection
from events.loads.backlog import backlogs
from events.models import DeadLetter, Load, Replay


class SummarisedDeletion(ModelAdmin):
    """Counts the related rows. Django lists them all, which takes minutes for loads."""

    also_deleted = ""
    """A sentence about the other data that is deleted or kept."""

    def deletion_name(self, record: Any) -> str:
        return f"{capfirst(self.opts.verbose_name)} {record}"

    def deletion_counts(self, records: Sequence[Any]) -> dict[str, int]:
        """How many related rows are deleted, by the plural name of their model."""
        return {}

    def deletion_obstacles(self, records: Sequence[Any]) -> list[str]:
        """Reasons why the records cannot be deleted now."""
        return []

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        records = list(objs)
        names = [self.deletion_name(record) for record in records]
        is_allowed = all(self.has_delete_permission(request, record) for record in records)
        return (
            [*names, *filter(None, [self.also_deleted])],
            {str(self.opts.verbose_name_plural): len(records), **self.deletion_counts(records)},
            set() if is_allowed else {str(self.opts.verbose_name)},
            self.deletion_obstacles(records),
        )


def related_counts(connections: QuerySet[Connection]) -> dict[str, int]:
    """How many loads, replays and dead letters are deleted along with the connections."""
    return {
        "loads": Load.objects.filter(connection__in=connections).count(),
        "replays": Replay.objects.filter(connection__in=connections).count(),
        "dead letters": DeadLetter.objects.filter(connection__in=connections).count(),
    }


def pending_count(connections: Sequence[Connection]) -> int:
    """Accepted events that the connections will no longer load."""
    return sum(backlog.events for backlog in backlogs(connections).values())
