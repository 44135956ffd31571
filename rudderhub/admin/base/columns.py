"""Columns of lists and fields of pages that show one attribute of a record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from django.utils.safestring import SafeString
from unfold.decorators import display

from rudderhub.admin.base import display as texts

Column = Callable[[Any, Any], SafeString | str | None]


def time_column(
    attribute: str, description: str, never: str = "never", ordering: str | None = None
) -> Column:
    formatted = partial(texts.relative_time, never=never)
    return _column(attribute, description, formatted, ordering)


def number_column(attribute: str, description: str) -> Column:
    return _column(attribute, description, "{:,}".format)


def copyable_column(
    attribute: str, description: str, most: int = 0, ordering: str | None = None
) -> Column:
    def formatted(value: Any) -> SafeString:
        return texts.copyable_text(str(value or ""), most)

    return _column(attribute, description, formatted, ordering)


def clipped_column(attribute: str, description: str, size: str = "") -> Column:
    def formatted(text: str) -> SafeString | None:
        return texts.clipped_text(text, size=size) if text else None

    return _column(attribute, description, formatted)


def _column(
    attribute: str,
    description: str,
    formatted: Callable[[Any], SafeString | str | None],
    ordering: str | None = None,
) -> Column:
    value_of = attrgetter(attribute)

    @display(description=description, ordering=ordering, empty_value="-")
    def column(_admin: Any, record: Any) -> SafeString | str | None:
        return formatted(value_of(record))

    return column


skip_reasons_column = _column("skip_reasons", "skipped because", texts.reason_counts_text)
warnings_column = _column("warnings", "warnings", lambda warnings: "\n".join(warnings) or None)
progress_column = _column("percent", "progress", texts.progress_bar)
