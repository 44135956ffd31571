"""The breadcrumbs of a page: its section and list as the navigation names them, and its title."""

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
    """The crumbs from the section to the page itself."""
    path = context["request"].path
    page_crumbs = _navigation_crumbs(context.get("sidebar_navigation") or [])
    record = context.get("original") or context.get("object")
    if isinstance(record, Model):
        page_crumbs.append(_record_crumb(record))
    if (not page_crumbs or page_crumbs[-1].url != path) and context.get("title"):
        page_crumbs.append(Crumb(_short_title(str(context["title"]), page_crumbs)))
    return page_crumbs


@register.simple_tag(takes_context=True)
def page_title(context: Context) -> str:
    """The title of the window, with the page first because browsers cut its end."""
    titles = [crumb.title for crumb in reversed(crumbs(context))]
    return " | ".join([*titles, str(context.get("site_title", ""))])


def _navigation_crumbs(navigation: Sequence[Mapping[str, Any]]) -> list[Crumb]:
    for group in navigation:
        for item in group["items"]:
            if item["active"]:
                section = [Crumb(group["title"])] if group.get("title") else []
                return [*section, Crumb(str(item["title"]), str(item["link"]))]
    return []


def _record_crumb(record: Model) -> Crumb:
    """The crumb of a record; its text is capitalised if it begins with the model's name."""
    options = record._meta  # noqa: SLF001
    text = str(record)
    title = capfirst(text) if text.startswith(str(options.verbose_name)) else text
    try:
        name = f"admin:{options.app_label}_{options.model_name}_change"
        return Crumb(title, reverse(name, args=[quote(record.pk)]))
    except NoReverseMatch:
        return Crumb(title)


def _short_title(title: str, page_crumbs: Sequence[Crumb]) -> str:
    """The title without the name that the crumb before it has already."""
    if not page_crumbs:
        return title
    name = page_crumbs[-1].title
    return title.removesuffix(f": {name}").removeprefix(f"{name} of ")
