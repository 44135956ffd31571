"""The write keys of a source: their list, and the pages that add, rotate and revoke them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from rudderhub.admin.base.columns import copyable_column, time_column
from rudderhub.admin.base.display import relative_time, status_label
from rudderhub.admin.base.record_pages import RecordPages
from sources.models import Source, WriteKey

OVERLAPS = {
    "1": "1 hour",
    "24": "24 hours",
    "168": "7 days",
    "720": "30 days",
}
"""How long the old key keeps working, as the hours and their text."""
USUAL_OVERLAP = "24"


class WriteKeyInline(TabularInline):
    model = WriteKey
    verbose_name_plural = "write keys"
    fields = readonly_fields = ("copy_key", "state", "created", "last_used", "actions")
    extra = 0
    can_delete = False
    hide_title = True
    template_after = "rudderhub/data/add_write_key.html"

    copy_key = copyable_column("key", "key")
    created = time_column("created_at", "created")
    last_used = time_column("last_used_at", "last used", "never used")

    def get_fields(self, request: HttpRequest, obj: Source | None = None) -> tuple[str, ...]:
        may_act = request.user.has_perm("sources.change_source")
        return self.fields if may_act else self.fields[:-1]

    def has_add_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        return False

    @display(description="state")
    def state(self, key: WriteKey) -> SafeString:
        if key.revoked_at is None:
            return status_label("active", "good")
        if key.is_active(timezone.now()):
            return format_html(
                "{} ends {}", status_label("rotated", "wait"), relative_time(key.revoked_at)
            )
        return format_html("{} {}", status_label("revoked", "off"), relative_time(key.revoked_at))

    @display(description="actions")
    def actions(self, key: WriteKey) -> SafeString:
        if not key.is_active(timezone.now()):
            return format_html("{}", "-")
        links = [("revoke", "Revoke now")]
        if key.revoked_at is None:
            links.insert(0, ("rotate", "Rotate"))
        return format_html_join(
            " · ",
            '<a class="rh-link" href="{}">{}</a>',
            (
                (reverse(f"admin:sources_writekey_{name}", args=[key.source_id, key.pk]), text)
                for name, text in links
            ),
        )


class WriteKeyPages(RecordPages):
    """Adds the views that change the write keys of a source."""

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("add", "add", self.add_key),
            ("<int:key_pk>/rotate", "rotate", self.rotate_key),
            ("<int:key_pk>/revoke", "revoke", self.revoke_key),
        )
        pages = [
            path(
                f"<int:pk>/keys/{rest}/",
                self.admin_site.admin_view(view),
                name=f"sources_writekey_{name}",
            )
            for rest, name, view in views
        ]
        return [*pages, *super().get_urls()]

    def add_key(self, request: HttpRequest, pk: int) -> HttpResponse:
        source = self.changeable(request, pk)
        if request.method != "POST":
            lines = ["The new key works beside the current active keys."]
            return self._confirm(request, source, "Add a write key", lines, "Add the key")
        key = WriteKey.objects.create(source=source)
        return self._redirect_when_done(request, source, f"Added write key {key}")

    def rotate_key(self, request: HttpRequest, pk: int, key_pk: int) -> HttpResponse:
        source = self.changeable(request, pk)
        key = get_object_or_404(source.write_keys, pk=key_pk)
        if key.revoked_at is not None:
            return self._redirect_to_changed_key(request, source, key)
        if request.method != "POST":
            lines = [
                "This creates a new key. The old key keeps working for the time you choose.",
                _last_use_text(key),
            ]
            return self._confirm(
                request, source, f"Rotate write key {key}", lines, "Rotate", overlaps=OVERLAPS
            )
        hours = request.POST.get("hours", USUAL_OVERLAP)
        if hours not in OVERLAPS:
            return HttpResponseBadRequest("hours is not one of the choices")
        new = key.rotate(timezone.now() + timedelta(hours=int(hours)))
        if new is None:
            return self._redirect_to_changed_key(request, source, key)
        return self._redirect_when_done(request, source, f"Rotated write key {key} to {new}")

    def revoke_key(self, request: HttpRequest, pk: int, key_pk: int) -> HttpResponse:
        source = self.changeable(request, pk)
        now = timezone.now()
        key = get_object_or_404(source.write_keys, pk=key_pk)
        if not key.is_active(now):
            return self._redirect_to_changed_key(request, source, key)
        if request.method != "POST":
            others = source.write_keys.active(now).exclude(pk=key.pk).count()
            lines = [
                "Requests with this key get a 401 from now on, and SDKs drop their events.",
                _last_use_text(key),
                f"Other active keys of this source: {others}.",
            ]
            return self._confirm(request, source, f"Revoke write key {key}", lines, "Revoke now")
        key.revoke(now)
        return self._redirect_when_done(request, source, f"Revoked write key {key}")

    def _confirm(
        self,
        request: HttpRequest,
        source: Source,
        title: str,
        lines: Sequence[str],
        yes: str,
        **more: Any,
    ) -> HttpResponse:
        texts = {"title": f"{title} of {source}?", "lines": lines, "yes": yes}
        context = {**texts, "usual": USUAL_OVERLAP, **more}
        template = "rudderhub/base/plain_confirmation.html"
        return self.record_page(request, source.pk, template, context)

    def _redirect_to_changed_key(
        self, request: HttpRequest, source: Source, key: WriteKey
    ) -> HttpResponse:
        """Redirect when another tab or user has changed the key, or the link is old."""
        messages.warning(
            request, f"Write key {key} was already rotated or revoked. See the keys below."
        )
        return self.record_redirect(source.pk)

    def _redirect_when_done(self, request: HttpRequest, source: Source, done: str) -> HttpResponse:
        self.log_change(request, source, f"{done}.")
        messages.success(request, f"{done}.")
        return self.record_redirect(source.pk)


def _last_use_text(key: WriteKey) -> SafeString:
    if key.last_used_at is None:
        return format_html("{}", "This key has never been used.")
    return format_html("The key was last used {}.", relative_time(key.last_used_at))
