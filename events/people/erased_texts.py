"""Finds the values of erased people in dead letters, refused requests and messages."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote, quote_plus

from django.contrib.admin.models import LogEntry
from django.db.models import Model, Q

from destinations.models import Connection, Destination
from destinations.warehouse.identity.erasure import ErasedIdentifiers
from events.log.erasure import json_texts
from events.models import DeadLetter, Load, Quarantined, Replay
from events.protocol.json_body import InvalidJSONError, loads

ERASED_TEXT = "[erased]"

MESSAGE_FIELDS: dict[type[Model], tuple[str, ...]] = {
    Connection: ("error",),
    Load: ("error",),
    LogEntry: ("object_repr", "change_message"),
    Replay: ("error",),
}
"""Fields with texts that may quote a database or a sender."""

ScannedRow = tuple[int, bool]
"""The key of a row, and whether the row names the person."""
MessageRow = tuple[type[Model], int, dict[str, str]]
"""A row, and by field its texts that change."""

_WORD = re.compile(r"[\w-]+")
_NAMED = r"(?<![\w-])(?:{})(?![\w-])"
_QUOTED = r"""(?<=["'(])(?:{})(?=["')])"""


class ErasedTexts:
    """The values of erased people, to be found in texts as whole words."""

    def __init__(self, erased: ErasedIdentifiers) -> None:
        self._spellings = _by_rarest_word(
            {spelling for value in erased.values for spelling in _spellings(value)}
        )

    def redacted(self, text: str) -> str:
        """The text with "[erased]" in place of each value."""
        return self._replaced(_NAMED, text)[0]

    def dead_letters(
        self, destination: Destination, sources: Collection[int], below: int | None = None
    ) -> Iterator[ScannedRow]:
        """Dead letters of the destination and of the sources with lower keys, the newest first."""
        letters = DeadLetter.objects.filter(
            Q(connection__destination=destination) | Q(connection__source__in=sources),
            _has_key_below(below),
        )
        rows = letters.order_by("-pk").values_list("pk", "payload", "reason")
        for pk, *texts in rows.iterator():
            yield pk, self._are_in(texts)

    def refused_requests(
        self, sources: Collection[int], below: int | None = None
    ) -> Iterator[ScannedRow]:
        """Refused requests of the sources with lower keys, the newest first."""
        refused = Quarantined.objects.filter(_has_key_below(below), source__in=sources)
        rows = refused.order_by("-pk").values_list("pk", "body", "reason")
        for pk, body, reason in rows.iterator():
            yield pk, self._are_in([reason, *_body_texts(bytes(body))])

    def messages(self) -> Iterator[MessageRow]:
        """All messages, with the texts that quote a value."""
        for model, fields in MESSAGE_FIELDS.items():
            empty = Q(**dict.fromkeys(fields, ""))
            rows = model._default_manager.exclude(empty).order_by("pk")  # noqa: SLF001
            for pk, *texts in rows.values_list("pk", *fields).iterator():
                replaced = ((text, self._replaced(_QUOTED, text)[0]) for text in texts)
                changes = zip(fields, replaced, strict=True)
                yield model, pk, {name: new for name, (old, new) in changes if new != old}

    def _are_in(self, texts: Iterable[str]) -> bool:
        return any(self._replaced(_NAMED, text)[1] for text in texts)

    def _replaced(self, pattern: str, text: str) -> tuple[str, int]:
        """The text without the values, and the number of places where one was."""
        words = self._spellings.keys() & {"", *_WORD.findall(text)}
        values = [value for word in words for value in self._spellings[word] if value in text]
        if not values:
            return text, 0
        values.sort(key=len, reverse=True)
        return re.subn(pattern.format("|".join(map(re.escape, values))), ERASED_TEXT, text)


def clear_messages(messages: Iterable[MessageRow]) -> int:
    """Replace the values that messages quote; returns the number of changed messages."""
    return sum(
        model._default_manager.filter(pk=pk).update(**texts)  # noqa: SLF001
        for model, pk, texts in messages
        if texts
    )


def _by_rarest_word(texts: Collection[str]) -> dict[str, list[str]]:
    """The texts by their word that the fewest other texts have; "" for texts without a word.

    So a search for thousands of values tests only those with a word of the searched text.
    """
    words_by_text = {text: set(_WORD.findall(text)) for text in texts}
    frequency = Counter(word for words in words_by_text.values() for word in words)
    by_word: dict[str, list[str]] = {}
    for text, words in words_by_text.items():
        by_word.setdefault(min(words, key=frequency.__getitem__, default=""), []).append(text)
    return by_word


def _has_key_below(key: int | None) -> Q:
    return Q() if key is None else Q(pk__lt=key)


def _spellings(value: str) -> set[str]:
    """The value as JSON and query strings write it."""
    return {*json_texts(value), quote(value), quote_plus(value)}


def _body_texts(body: bytes) -> Iterable[str]:
    """The body as text, and the decoded data parameter of a pixel request."""
    yield body.decode("utf-8", "replace")
    try:
        query = loads(body)
        data = query.get("data") if isinstance(query, dict) else None
        if isinstance(data, str):
            plain = data.replace("-", "+").replace("_", "/")
            yield base64.b64decode(f"{plain}==").decode("utf-8", "replace")
    except (InvalidJSONError, binascii.Error):
        return
