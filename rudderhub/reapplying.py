"""How far the re-applying of a column's discards is: kept in the cache, for whoever looks."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

KEPT_SECONDS = 3_600


@dataclass(frozen=True)
class Progress:
    seen: int = 0
    total: int = 0
    outcome: str = ""
    """Empty while it runs."""

    @property
    def percent(self) -> int:
        return 100 * self.seen // self.total if self.total else 0


@dataclass(frozen=True)
class Column:
    """A column of a warehouse, by which its progress is found."""

    destination_pk: int
    schema: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"

    @property
    def _key(self) -> str:
        return f"reapply:{self.destination_pk}:{self}"

    def tell(self, progress: Progress) -> None:
        cache.set(self._key, progress, timeout=KEPT_SECONDS)

    def forget(self) -> None:
        cache.delete(self._key)

    def progress(self) -> Progress | None:
        found = cache.get(self._key)
        return found if isinstance(found, Progress) else None
