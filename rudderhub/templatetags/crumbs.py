"""Where a page is: its section and its list as the navigation names them, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.template import Context, Library
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst

register = Library()


class Crumb(NamedTuple):
    title: str
    url: str = ""


@register.simple_tag(takes_context=True)
def crumbs(context: Context) -> list[Crumb]:
    """The page itself comes last."""
    path = context["request"].path
    found = _place(context.get("sidebar_navigation") or [])
    record = context.get("original") or context.get("object")
    if isinstance(record, Model):
        found.append(_record(record))
    if (not found or found[-1].url != path) and context.get("title"):
        found.append(Crumb(_title(str(context["title"]), found)))
    return found


@register.simple_tag(takes_context=True)
def page_title(context: Context) -> str:
    """The page first, since the title of a window is cut at its end."""
    titles = [crumb.title for crumb in reversed(crumbs(context))]
    return " | ".join([*titles, str(context.get("site_title", ""))])


def _place(navigation: Sequence[Mapping[str, Any]]) -> list[Crumb]:
    for group in navigation:
        for item in group["items"]:
            if item["active"]:
                section = [Crumb(group["title"])] if group.get("title") else []
                return [*section, Crumb(str(item["title"]), str(item["link"]))]
    return []


def _record(record: Model) -> Crumb:
    """Names stay as they are; a text that begins with what the record is begins a title."""
    options = record._meta  # noqa: SLF001
    text = str(record)
    title = capfirst(text) if text.startswith(str(options.verbose_name)) else text
    try:
        name = f"admin:{options.app_label}_{options.model_name}_change"
        return Crumb(title, reverse(name, args=[quote(record.pk)]))
    except NoReverseMatch:
        return Crumb(title)


def _title(title: str, found: Sequence[Crumb]) -> str:
    """Without what the crumbs before it say already."""
    if not found:
        return title
    name = found[-1].title
    return title.removesuffix(f": {name}").removeprefix(f"{name} of ")
