"""Reasons of dead letters without the values in them, so that those alike can be told."""

from __future__ import annotations

import re

LONGEST = 200

_VALUES = re.compile(r""""[^"]*"|'[^']*'|[0-9]+""")


def reason_kind(reason: str) -> str:
    """'mergeProperties[3].value is missing' is of the kind 'mergeProperties[…].value is missing'.

    The migration that added kinds has the same expression in SQL.
    """
    return _VALUES.sub("…", reason)[:LONGEST]
