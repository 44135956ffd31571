"""Shows the reason of a discard in plain words; the tables keep RudderStack's."""

from __future__ import annotations

import re

from django.template import Library

register = Library()

_CONVERSION = re.compile(r"incompatible schema conversion from (\w+) to (\w+)")
_NAMES = {
    "int": "whole-number",
    "float": "number",
    "string": "text",
    "datetime": "time",
    "json": "JSON",
    "boolean": "boolean",
}


@register.filter
def plain_reason(reason: str) -> str:
    """Such as "text in a number column"; other reasons are plain already."""
    conversion = _CONVERSION.fullmatch(reason)
    if conversion is None:
        return reason
    column, value = (_NAMES.get(name, name) for name in conversion.groups())
    return f"{value.replace('-', ' ')} in a {column} column"
