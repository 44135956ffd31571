"""The page between choosing records and doing something with them: what it touches, and a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

FORM_ONLY = ("csrfmiddlewaretoken", "confirm", "note")


@dataclass(frozen=True)
class Verb:
    title: str
    yes: str
    text: str
    takes_note: bool = False


@dataclass(frozen=True)
class Touched:
    """What would be touched, by groups; obstacles are whys it cannot be done now, with links."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    obstacles: Sequence[tuple[str, str]] = ()


def confirmed(request: HttpRequest, verb: Verb) -> str | None:
    """The note, which may be empty if none is wanted; None when there is still to be asked."""
    note = request.POST.get("note", "").strip()
    return note if "confirm" in request.POST and (note or not verb.takes_note) else None


def ask(of: ModelAdmin, request: HttpRequest, verb: Verb, touched: Touched) -> HttpResponse:
    """Asks; the answer comes to the same address with the same fields."""
    names = [name for name in request.POST if name not in FORM_ONLY]
    context = {
        **of.admin_site.each_context(request),
        "opts": of.opts,
        "title": verb.title,
        "verb": verb,
        "touched": touched,
        "held": [(name, value) for name in names for value in request.POST.getlist(name)],
        "lacks_note": "confirm" in request.POST,
        "back": reverse(f"admin:{of.opts.app_label}_{of.opts.model_name}_changelist"),
    }
    return TemplateResponse(request, "events/ask.html", context)
