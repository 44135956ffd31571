from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from rudderhub.admin.data.source_form import SourceForm
from sources.display import copyable, label, when
from sources.models import Source, WriteKey
from sources.snippets import snippets

OVERLAPS = {
    "1": "1 hour",
    "24": "24 hours",
    "168": "7 days",
    "720": "30 days",
}
"""For how many hours the old key works on beside a new one."""
USUAL_OVERLAP = "24"


class WriteKeyInline(TabularInline):
    model = WriteKey
    verbose_name_plural = "write keys"
    fields = readonly_fields = ("copy_key", "state", "created", "last_used", "actions")
    extra = 0
    can_delete = False
    hide_title = True
    template_after = "sources/keys_after.html"

    def get_fields(self, request: HttpRequest, obj: Source | None = None) -> tuple[str, ...]:
        may_act = request.user.has_perm("sources.change_source")
        return self.fields if may_act else tuple(f for f in self.fields if f != "actions")

    def has_add_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        return False

    @display(description="key")
    def copy_key(self, key: WriteKey) -> SafeString:
        return copyable(key.key)

    @display(description="state")
    def state(self, key: WriteKey) -> SafeString:
        if key.revoked_at is None:
            return label("active", "good")
        if key.is_active(timezone.now()):
            return format_html("{} ends {}", label("rotated", "wait"), when(key.revoked_at))
        return format_html("{} {}", label("revoked", "off"), when(key.revoked_at))

    @display(description="created")
    def created(self, key: WriteKey) -> SafeString:
        return when(key.created_at)

    @display(description="last used")
    def last_used(self, key: WriteKey) -> SafeString:
        return when(key.last_used_at, never="no use recorded")

    @display(description="actions")
    def actions(self, key: WriteKey) -> SafeString:
        if not key.is_active(timezone.now()):
            return format_html("{}", "-")
        links = [("revoke", "Revoke now")]
        if key.revoked_at is None:
            links.insert(0, ("rotate", "Rotate"))
        return format_html_join(
            " · ", '<a class="rh-link" href="{}">{}</a>', ((_key_url(n, key), t) for n, t in links)
        )


@admin.register(Source)
class SourceAdmin(ModelAdmin):
    form = SourceForm
    list_display: tuple[str, ...] = ("name", "kind", "on", "active_keys", "feeds")
    list_filter = ("enabled", "type")
    search_fields = ("name", "public_id", "write_keys__key")
    search_help_text = "Name, source id or write key"
    ordering = ("name", "id")
    actions = ("enable", "disable")
    empty_text = "A source is a site, app or server that sends events. Add one to get a write key."
    inlines = (WriteKeyInline,)
    readonly_fields: tuple[str, ...] = ("source_id", "created")
    change_form_outer_after_template = "sources/send.html"
    fieldsets: tuple[Any, ...] = (
        (None, {"fields": ("name", "type", "enabled", "source_id", "created")}),
        (
            "What is accepted",
            {
                "fields": (
                    "on_invalid_event",
                    "allowed_origins",
                    ("rate_limit_requests", "rate_limit_window_seconds"),
                    ("max_event_bytes", "max_body_bytes"),
                )
            },
        ),
    )
    add_fieldsets = ((None, {"fields": ("name", "type")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        now = timezone.now()
        active = Q(write_keys__revoked_at=None) | Q(write_keys__revoked_at__gt=now)
        return Source.objects.annotate(
            active_key_count=Count("write_keys", filter=active, distinct=True),
            connection_count=Count("connections", distinct=True),
        )

    def get_inlines(self, request: HttpRequest, obj: Source | None) -> tuple[Any, ...]:
        return self.inlines if obj else ()

    @display(description="type", ordering="type")
    def kind(self, source: Source) -> str:
        return source.get_type_display()

    @display(description="state", ordering="enabled")
    def on(self, source: Source) -> SafeString:
        return label("on", "good") if source.enabled else label("off", "off")

    @display(description="keys", ordering="active_key_count")
    def active_keys(self, source: Source) -> SafeString:
        count: int = source.active_key_count  # type: ignore[attr-defined]
        return format_html("{}", count) if count else label("none", "bad")

    @display(description="connections", ordering="connection_count")
    def feeds(self, source: Source) -> SafeString:
        count: int = source.connection_count  # type: ignore[attr-defined]
        return format_html("{}", count) if count else label("none: not loaded", "wait")

    @display(description="source id")
    def source_id(self, source: Source) -> SafeString:
        return copyable(source.public_id)

    @display(description="created")
    def created(self, source: Source) -> SafeString:
        return when(source.created_at)

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=True)

    @action(description="Disable: refuse with 404", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=False)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            WriteKey.objects.create(source=obj)

    def response_add(
        self, request: HttpRequest, obj: Source, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the new source's page, which shows its key and how to send."""
        if "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, f"{obj} is ready. Its write key and snippets are below.")
        return HttpResponseRedirect(reverse("admin:sources_source_change", args=[obj.pk]))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "base_url": settings.BASE_URL}
        source = self.get_object(request, object_id)
        if source is not None:
            key = source.write_keys.active(timezone.now()).first()
            ready = snippets(settings.DATA_PLANE_URL, key.key) if key else []
            context["snippets"] = sorted(ready, key=lambda each: not each.suits(source.type))
            if self.has_change_permission(request, source):
                context["keys_add_url"] = reverse("admin:sources_writekey_add", args=[source.pk])
        return super().change_view(request, object_id, form_url, context)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """In words: listing each load and dead letter could take minutes."""
        names = [f"Source {source}" for source in objs]
        also = (
            "its write keys, connections and their history of loads, its quarantine "
            "and dead letters. Events in the log and tables in warehouses stay. "
            "To stop a source and keep all this, disable it."
        )
        return [*names, also], {"sources": len(names)}, set(), []

    def get_urls(self) -> list[URLPattern]:
        key = "<int:source_pk>/keys/"
        views = (
            (f"{key}add/", self.add_key, "sources_writekey_add"),
            (f"{key}<int:key_pk>/rotate/", self.rotate_key, "sources_writekey_rotate"),
            (f"{key}<int:key_pk>/revoke/", self.revoke_key, "sources_writekey_revoke"),
        )
        wrap = self.admin_site.admin_view
        return [path(route, wrap(view), name=name) for route, view, name in views] + list(
            super().get_urls()
        )

    def add_key(self, request: HttpRequest, source_pk: int) -> HttpResponse:
        source = self._changeable(request, source_pk)
        if request.method != "POST":
            lines = ["Both the new key and those that are active now will work."]
            return self._confirm(request, source, "Add a write key", lines, "Add the key")
        key = WriteKey.objects.create(source=source)
        return self._done(request, source, f"Added write key {key}")

    def rotate_key(self, request: HttpRequest, source_pk: int, key_pk: int) -> HttpResponse:
        source = self._changeable(request, source_pk)
        key = get_object_or_404(source.write_keys, pk=key_pk)
        if key.revoked_at is not None:
            return self._too_late(request, source, key)
        if request.method != "POST":
            lines = [
                "A new key is made. The old one works on for a while; then it is refused.",
                _last_use(key),
            ]
            return self._confirm(
                request, source, f"Rotate write key {key}", lines, "Rotate", overlaps=OVERLAPS
            )
        hours = request.POST.get("hours", USUAL_OVERLAP)
        if hours not in OVERLAPS:
            return HttpResponseBadRequest("hours is none of those offered")
        new = key.rotate(timezone.now() + timedelta(hours=int(hours)))
        if new is None:
            return self._too_late(request, source, key)
        return self._done(request, source, f"Rotated write key {key} to {new}")

    def revoke_key(self, request: HttpRequest, source_pk: int, key_pk: int) -> HttpResponse:
        source = self._changeable(request, source_pk)
        now = timezone.now()
        key = get_object_or_404(source.write_keys, pk=key_pk)
        if not key.is_active(now):
            return self._too_late(request, source, key)
        if request.method != "POST":
            others = source.write_keys.active(now).exclude(pk=key.pk).count()
            lines = [
                "From now on requests with this key are refused with 401; SDKs drop their events.",
                _last_use(key),
                f"Other active keys of this source: {others}.",
            ]
            return self._confirm(request, source, f"Revoke write key {key}", lines, "Revoke now")
        key.revoke(now)
        return self._done(request, source, f"Revoked write key {key}")

    def _switch(self, request: HttpRequest, sources: QuerySet[Source], *, enabled: bool) -> None:
        word = "Enabled" if enabled else "Disabled"
        names = []
        for source in sources.exclude(enabled=enabled):
            source.enabled = enabled
            source.save(update_fields=["enabled", "updated_at"])
            self.log_change(request, source, f"{word}.")
            names.append(source.name)
        messages.success(request, f"{word}: {', '.join(names) or 'nothing to change'}.")

    def _changeable(self, request: HttpRequest, source_pk: int) -> Source:
        source = get_object_or_404(Source, pk=source_pk)
        if not self.has_change_permission(request, source):
            raise PermissionDenied
        return source

    def _confirm(
        self,
        request: HttpRequest,
        source: Source,
        title: str,
        lines: Sequence[str],
        yes: str,
        **more: Any,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{title} of {source}?",
            "lines": lines,
            "yes": yes,
            "back": reverse("admin:sources_source_change", args=[source.pk]),
            "usual": USUAL_OVERLAP,
            **more,
        }
        return TemplateResponse(request, "sources/confirm.html", context)

    def _too_late(self, request: HttpRequest, source: Source, key: WriteKey) -> HttpResponse:
        """Another tab or user was first, or the link is old."""
        messages.warning(request, f"Write key {key} was rotated or revoked before: look below.")
        return HttpResponseRedirect(reverse("admin:sources_source_change", args=[source.pk]))

    def _done(self, request: HttpRequest, source: Source, done: str) -> HttpResponse:
        self.log_change(request, source, f"{done}.")
        messages.success(request, f"{done}.")
        return HttpResponseRedirect(reverse("admin:sources_source_change", args=[source.pk]))


def _key_url(name: str, key: WriteKey) -> str:
    return reverse(f"admin:sources_writekey_{name}", args=[key.source_id, key.pk])


def _last_use(key: WriteKey) -> SafeString:
    if key.last_used_at is None:
        return format_html("{}", "No use of this key is recorded.")
    return format_html("The key was last used {}.", when(key.last_used_at))
