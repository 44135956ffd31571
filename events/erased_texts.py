"""Dead letters, refused requests and messages that name erased people."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from django.contrib.admin.models import LogEntry
from django.db.models import Model, Q

from destinations.models import Connection, Destination
from destinations.warehouse.erasure import Erased
from events.decode import InvalidJSONError, loads
from events.erased_events import json_texts
from events.models import DeadLetter, Load, Quarantined, Replay

ERASED_TEXT = "[erased]"

MESSAGES: dict[type[Model], tuple[str, ...]] = {
    Connection: ("last_error",),
    Load: ("error",),
    LogEntry: ("object_repr", "change_message"),
    Replay: ("error",),
}
"""Texts that may quote what a database or a sender said."""


Seen = tuple[int, bool]
"""A row by its key, and whether it names the person."""
Message = tuple[type[Model], int, dict[str, str]]
"""A row, and the texts of it that change."""


def clear_messages(found: Iterable[Message]) -> int:
    """Where a message quotes a value, the message stays and the value goes."""
    return sum(
        model._default_manager.filter(pk=pk).update(**texts)  # noqa: SLF001
        for model, pk, texts in found
        if texts
    )


class ErasedTexts:
    """Finds the values of erased people in texts, as a whole word each."""

    def __init__(self, erased: Erased) -> None:
        self._texts = {text for value in erased.values for text in _texts(value)}
        longest_first = sorted(self._texts, key=len, reverse=True)
        any_of = "|".join(map(re.escape, longest_first))
        self._named = re.compile(rf"(?<![\w-])(?:{any_of})(?![\w-])")
        self._quoted = re.compile(rf"""(?<=["'(])(?:{any_of})(?=["')])""")

    def without(self, text: str) -> str:
        """A text that an operator wrote about the person."""
        return self._named.sub(ERASED_TEXT, text)

    def dead_letters(
        self, destination: Destination, sources: Collection[int], below: int | None = None
    ) -> Iterator[Seen]:
        """Those of the destination and of the sources, the newest first."""
        letters = DeadLetter.objects.filter(
            Q(connection__destination=destination) | Q(connection__source__in=sources),
            _below(below),
        )
        rows = letters.order_by("-pk").values_list("pk", "payload", "reason")
        for pk, *texts in rows.iterator():
            yield pk, self._names(texts)

    def refused(self, sources: Collection[int], below: int | None = None) -> Iterator[Seen]:
        refused = Quarantined.objects.filter(_below(below), source__in=sources)
        rows = refused.order_by("-pk").values_list("pk", "body", "reason")
        for pk, body, reason in rows.iterator():
            yield pk, self._names([reason, *_readings(bytes(body))])

    def messages(self) -> Iterator[Message]:
        for model, fields in MESSAGES.items():
            for pk, *texts in _said(model, fields):
                yield model, pk, self._cleared(dict(zip(fields, texts, strict=True)))

    def _cleared(self, texts: dict[str, str]) -> dict[str, str]:
        """Those that quote a value, without it."""
        new = {name: self._quoted.sub(ERASED_TEXT, t) for name, t in texts.items() if self._has(t)}
        return {name: text for name, text in new.items() if text != texts[name]}

    def _names(self, texts: Iterable[str]) -> bool:
        return any(self._has(text) and self._named.search(text) for text in texts)

    def _has(self, text: str) -> bool:
        """Far faster than the patterns of a thousand values."""
        return any(each in text for each in self._texts)


def _below(key: int | None) -> Q:
    return Q() if key is None else Q(pk__lt=key)


def _said(model: type[Model], fields: tuple[str, ...]) -> Iterable[Any]:
    silent = Q(**dict.fromkeys(fields, ""))
    rows = model._default_manager.exclude(silent).order_by("pk")  # noqa: SLF001
    return rows.values_list("pk", *fields).iterator()


def _texts(value: str) -> set[str]:
    """The ways in which a value stands in JSON or in a query string."""
    return {*json_texts(value), quote(value), quote_plus(value)}


def _readings(body: bytes) -> Iterable[str]:
    """A body as text; of a pixel's query string what its parameter data holds, too."""
    yield body.decode("utf-8", "replace")
    try:
        query = loads(body)
        data = query.get("data") if isinstance(query, dict) else None
        if isinstance(data, str):
            plain = data.replace("-", "+").replace("_", "/")
            yield base64.b64decode(f"{plain}==").decode("utf-8", "replace")
    except (InvalidJSONError, binascii.Error):
        return
