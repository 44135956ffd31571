"""Columns of lists and fields of pages that show one attribute of a record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from django.utils.safestring import SafeString
from unfold.decorators import display

from rudderhub.admin.base import display as texts

Column = Callable[[Any, Any], Any]


def column(
    attribute: str, description: str, formatted: Callable[[Any], Any], ordering: str | None = None
) -> Column:
    """A method of an admin; a dash is shown if the formatted value is None."""
    value_of = attrgetter(attribute)

    @display(description=description, ordering=ordering, empty_value="-")
    def method(_admin: Any, record: Any) -> Any:
        return formatted(value_of(record))

    return method


def time_column(
    attribute: str, description: str, never: str = "never", ordering: str | None = None
) -> Column:
    formatted = partial(texts.relative_time, never=never)
    return column(attribute, description, formatted, ordering)


def number_column(attribute: str, description: str) -> Column:
    return column(attribute, description, "{:,}".format)


def sum_column(attribute: str, description: str) -> Column:
    return column(attribute, description, lambda counts: f"{sum(counts.values()):,}")


def switch_column(attribute: str, description: str, ordering: str | None = None) -> Column:
    def formatted(is_on: bool) -> SafeString:
        return texts.status_label("on", "good") if is_on else texts.status_label("off", "off")

    return column(attribute, description, formatted, ordering)


def copyable_column(
    attribute: str, description: str, most: int = 0, ordering: str | None = None
) -> Column:
    def formatted(value: Any) -> SafeString:
        return texts.copyable_text(str(value or ""), most)

    return column(attribute, description, formatted, ordering)


def clipped_column(attribute: str, description: str, size: str = "") -> Column:
    def formatted(text: str) -> SafeString | None:
        return texts.clipped_text(text, size=size) if text else None

    return column(attribute, description, formatted)


skip_reasons_column = column("skip_reasons", "skipped because", texts.reason_counts_text)
warnings_column = column("warnings", "warnings", lambda warnings: "\n".join(warnings) or None)
progress_column = column("percent", "progress", texts.progress_bar)
