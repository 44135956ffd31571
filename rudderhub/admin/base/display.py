"""Formats times, ids and JSON for the pages of the admin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

_A_MINUTE = 60


def relative_time(moment: datetime | None, never: str = "never") -> SafeString:
    """The time relative to now, such as "5 minutes ago"; hovering shows it in UTC."""
    if moment is None:
        return format_html("{}", never)
    now = timezone.now()
    duration = duration_text(moment, now)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3],
        f"in {duration}" if moment > now else f"{duration} ago",
    )


def copyable_text(text: str, most: int = 0) -> SafeString:
    """The text with a button that copies it, or a dash if it is empty.

    At most `most` characters are shown, or all of them if it is 0.
    """
    if not text:
        return format_html("{}", "-")
    shown = f"{text[:most]}…" if 0 < most < len(text) else text
    return format_html(
        '<span class="rh-copyable"><code title="{}">{}</code>{}</span>',
        text,
        shown,
        copy_button(text),
    )


def clipped_text(text: str, short_text: str = "", size: str = "") -> SafeString:
    """The text cut off at the end of its column; hovering shows all of it.

    `short_text` is displayed in its place. `size` is "short", "tight" or empty.
    """
    kind = f"rh-clip rh-clip-{size}" if size else "rh-clip"
    return format_html('<span class="{}" title="{}">{}</span>', kind, text, short_text or text)


def copy_button(text: str) -> SafeString:
    return format_html(
        '<button type="button" class="rh-copy" data-copy="{0}" aria-label="Copy {0}">copy</button>',
        text,
    )


def count_text(count: int, noun: str) -> str:
    """The count with its noun, such as "1 event" and "1,234 events"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def progress_bar(percent: int) -> SafeString:
    return format_html('<progress max="100" value="{0}">{0} %</progress> {0} %', percent)


def status_label(text: str, kind: str) -> SafeString:
    """A coloured word; kind is "good", "wait", "bad" or "off"."""
    return format_html('<span class="rh-label rh-{}">{}</span>', kind, text)


def reason_counts_text(counts: Mapping[str, int]) -> str | None:
    """One line per reason, the most frequent first; None without any."""
    reasons = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join(f"{reason}: {count:,}" for reason, count in reasons) or None


def pretty_json(text: str) -> str:
    """The JSON indented; text that Python cannot decode is returned unchanged."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def json_block(text: str) -> SafeString:
    """The JSON indented, and below it the text as stored, since indenting may round numbers."""
    return format_html(
        '<pre class="rh-code" tabindex="0">{}</pre>'
        '<details class="rh-raw"><summary>As stored</summary>'
        '<pre class="rh-code rh-wrap" tabindex="0">{}</pre></details>',
        pretty_json(text),
        text,
    )


def code_block(code: str) -> SafeString:
    return format_html(
        '<div class="rh-snippet"><button type="button" class="rh-copy" data-copy="{}">copy</button>'
        '<pre class="rh-code rh-wrap" tabindex="0">{}</pre></div>',
        code,
        code,
    )


def duration_text(moment: datetime, now: datetime) -> str:
    """The time between the two moments in its largest unit, such as "5 minutes"."""
    seconds = int(abs((now - moment).total_seconds()))
    if seconds < _A_MINUTE:
        return f"{seconds} s"
    return timesince(min(moment, now), max(moment, now), depth=1)
