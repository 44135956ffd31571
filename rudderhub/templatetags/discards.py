"""The template filter that shows the reason of a discard in plain words."""

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
    """Plain words for RudderStack's reason, such as "text in a number column"."""
    conversion = _CONVERSION.fullmatch(reason)
    if conversion is None:
        return reason
    column, value = (_NAMES.get(name, name) for name in conversion.groups())
    return f"{value.replace('-', ' ')} in a {column} column"
