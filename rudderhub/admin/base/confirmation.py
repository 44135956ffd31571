"""The page that confirms an action, with the records it affects and a note if it takes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

FORM_ONLY = ("csrfmiddlewaretoken", "confirm", "note")


@dataclass(frozen=True)
class Confirmation:
    """The texts of the page that confirms one action."""

    title: str
    yes: str
    text: str
    takes_note: bool = False


@dataclass(frozen=True)
class Affected:
    """A table of the affected records, and the obstacles to the action, each with a link."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    obstacles: Sequence[tuple[str, str]] = ()


def confirmed_note(request: HttpRequest, confirmation: Confirmation) -> str | None:
    """The note of a confirmed action, or "" if it takes none; None before it is confirmed."""
    note = request.POST.get("note", "").strip()
    return note if "confirm" in request.POST and (note or not confirmation.takes_note) else None


def confirmation_page(
    model_admin: ModelAdmin, request: HttpRequest, confirmation: Confirmation, affected: Affected
) -> HttpResponse:
    """The page; its form posts the fields of the request again to the same address."""
    opts = model_admin.opts
    names = [name for name in request.POST if name not in FORM_ONLY]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": opts,
        "title": confirmation.title,
        "confirmation": confirmation,
        "affected": affected,
        "posted_fields": [(name, value) for name in names for value in request.POST.getlist(name)],
        "lacks_note": "confirm" in request.POST,
        "back": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"),
    }
    return TemplateResponse(request, "rudderhub/base/confirmation.html", context)
