"""The page that confirms a deletion, with counts of what is deleted along with the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils.text import capfirst
from unfold.admin import ModelAdmin


class SummarisedDeletion(ModelAdmin):
    """Replaces Django's list of all related rows: of loads and dead letters it takes minutes."""

    also_deleted = ""
    """What else is deleted and what is kept, as a sentence."""

    def deletion_name(self, record: Any) -> str:
        return f"{capfirst(self.opts.verbose_name)} {record}"

    def deletion_counts(self, records: Sequence[Any]) -> dict[str, int]:
        """Numbers of the related rows that are deleted, by their name."""
        return {}

    def deletion_obstacles(self, records: Sequence[Any]) -> list[str]:
        """Why the records cannot be deleted now."""
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
