"""Dead letters, refused requests and messages that name erased people."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from django.contrib.admin.models import LogEntry
from django.db.models import Model, Q

from destinations.models import Connection, Destination
from destinations.warehouse.identity.erasure import Erased
from events.log.erasure import json_texts
from events.models import DeadLetter, Load, Quarantined, Replay
from events.protocol.json_body import InvalidJSONError, loads

ERASED_TEXT = "[erased]"

MESSAGES: dict[type[Model], tuple[str, ...]] = {
    Connection: ("error",),
    Load: ("error",),
    LogEntry: ("object_repr", "change_message"),
    Replay: ("error",),
}
"""Texts that may quote what a database or a sender said."""


ScannedRow = tuple[int, bool]
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


_WORD = re.compile(r"[\w-]+")
_NAMED = r"(?<![\w-])(?:{})(?![\w-])"
_QUOTED = r"""(?<=["'(])(?:{})(?=["')])"""


class ErasedTexts:
    """Finds the values of erased people in texts, as a whole word each."""

    def __init__(self, erased: Erased) -> None:
        self._texts = _by_word({text for value in erased.values for text in _texts(value)})

    def without(self, text: str) -> str:
        """A text that an operator wrote about the person."""
        return self._sub(_NAMED, text)[0]

    def dead_letters(
        self, destination: Destination, sources: Collection[int], below: int | None = None
    ) -> Iterator[ScannedRow]:
        """Those of the destination and of the sources, the newest first."""
        letters = DeadLetter.objects.filter(
            Q(connection__destination=destination) | Q(connection__source__in=sources),
            _below(below),
        )
        rows = letters.order_by("-pk").values_list("pk", "payload", "reason")
        for pk, *texts in rows.iterator():
            yield pk, self._names(texts)

    def refused(self, sources: Collection[int], below: int | None = None) -> Iterator[ScannedRow]:
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
        new = {name: self._sub(_QUOTED, text)[0] for name, text in texts.items()}
        return {name: text for name, text in new.items() if text != texts[name]}

    def _names(self, texts: Iterable[str]) -> bool:
        return any(self._sub(_NAMED, text)[1] for text in texts)

    def _sub(self, pattern: str, text: str) -> tuple[str, int]:
        """The text without the values, and how often one stood there."""
        found = self._in(text)
        if not found:
            return text, 0
        return re.subn(pattern.format("|".join(map(re.escape, found))), ERASED_TEXT, text)

    def _in(self, text: str) -> list[str]:
        """Those of thousands that stand in the text, the longest first."""
        words = self._texts.keys() & {"", *_WORD.findall(text)}
        found = [each for word in words for each in self._texts[word] if each in text]
        return sorted(found, key=len, reverse=True)


def _by_word(texts: Collection[str]) -> dict[str, list[str]]:
    """Texts by the word of them that the fewest share, those without a word by none."""
    words = {text: set(_WORD.findall(text)) for text in texts}
    shared = Counter(word for each in words.values() for word in each)
    found: dict[str, list[str]] = {}
    for text, each in words.items():
        found.setdefault(min(each, key=shared.__getitem__, default=""), []).append(text)
    return found


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
