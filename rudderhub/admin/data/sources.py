"""The pages of sources, with the activity of each in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from destinations.models import Connection
from events.gateway.sample_event import send_sample_event
from events.log.activity import HOURS, Activity, refused_filter, source_activity
from events.models import Event, Quarantined
from rudderhub.admin.base import sparkline
from rudderhub.admin.base.columns import copyable_column, time_column
from rudderhub.admin.base.deletion import SummarisedDeletion, pending_count, related_counts
from rudderhub.admin.base.display import clipped_text, relative_time, status_label
from rudderhub.admin.base.enabled_actions import EnabledActions
from rudderhub.admin.base.record_pages import RowsAdmin
from rudderhub.admin.data.connection_status import ConnectionStatus, connection_statuses
from rudderhub.admin.data.snippets import snippets
from rudderhub.admin.data.source_form import SourceForm
from rudderhub.admin.data.write_keys import WriteKeyInline, WriteKeyPages
from sources.client_address import client_address
from sources.models import Source, WriteKey

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Counts(TypedDict):
        active_key_count: int
        connection_count: int
        activity: Activity
        may_be_connected: bool

    SourceRow = WithAnnotations[Source, _Counts]

MANY_REFUSED = 0.01
REQUEST_FIELDS = ("on_invalid_event", "allowed_origins")
LIMIT_FIELDS = (
    ("rate_limit_requests", "rate_limit_window_seconds"),
    ("max_event_bytes", "max_body_bytes"),
)


@admin.register(Source)
class SourceAdmin(EnabledActions, SummarisedDeletion, RowsAdmin, WriteKeyPages):
    form = SourceForm
    list_display = (
        *("name", "type", "state", "day", "errors", "last_event", "sdk", "active_keys", "feeds"),
    )
    list_filter = ("enabled", "type")
    search_fields = ("name", "public_id", "write_keys__key")
    search_help_text = "Name, source id or write key"
    ordering = ("name", "id")
    actions = ("enable", "disable")
    empty_text = "A source is a site, app or server that sends events. Add one to get a write key."
    inlines = (WriteKeyInline,)
    readonly_fields = (
        *("source_id", "created", "day", "errors", "last_event", "sdks", "destinations"),
    )
    change_form_outer_after_template = "rudderhub/data/send_event.html"
    fieldsets = (
        (None, {"fields": ("name", "type", "enabled", "source_id", "created")}),
        ("Activity", {"fields": (("day", "errors"), ("last_event", "sdks"), "destinations")}),
        ("Accepted requests", {"fields": (*REQUEST_FIELDS, *LIMIT_FIELDS)}),
    )
    add_fieldsets = ((None, {"fields": ("name", "type")}),)
    also_deleted = (
        "Its write keys, connections, loads, quarantine and dead letters are deleted. The event "
        "log and warehouse tables are kept. To stop a source and keep everything, disable it."
    )

    last_event = time_column("activity.last_at", "last event", "none yet")
    source_id = copyable_column("public_id", "source id")
    created = time_column("created_at", "created")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        now = timezone.now()
        active = Q(write_keys__revoked_at=None) | Q(write_keys__revoked_at__gt=now)
        return Source.objects.annotate(
            active_key_count=Count("write_keys", filter=active, distinct=True),
            connection_count=Count("connections", distinct=True),
        )

    def rows(self, records: Iterable[Source], request: HttpRequest) -> list[SourceRow]:
        """The sources with their activity, and whether the user may connect them."""
        rows = [cast("SourceRow", record) for record in records]
        activities = source_activity([row.pk for row in rows], timezone.now())
        may_connect = request.user.has_perm("destinations.add_connection")
        for row in rows:
            row.activity, row.may_be_connected = activities[row.pk], may_connect
        return rows

    def get_inlines(self, request: HttpRequest, obj: Source | None) -> tuple[Any, ...]:
        return self.inlines if obj else ()

    @display(description="events in 24 h")
    def day(self, source: SourceRow) -> SafeString:
        events, hours = source.activity.accepted, source.activity.hours
        if not events:
            return format_html("{}", "0")
        description = (
            f"events by hour, at most {max(hours):,} per hour, {hours[-1]:,} in the last hour"
        )
        return format_html(
            '<span class="rh-day">{} <svg class="rh-spark" viewBox="0 0 {} {}" role="img"'
            ' aria-label="{}"><title>{}</title><path d="{}"/></svg></span>',
            f"{events:,}",
            sparkline.width(hours),
            sparkline.HEIGHT,
            description,
            description,
            sparkline.bars_path(hours),
        )

    @display(description="refused")
    def errors(self, source: SourceRow) -> SafeString:
        """The share of refused requests; requests with an unknown key belong to no source."""
        activity = source.activity
        if not activity.refused:
            return format_html("{}", "0 %" if activity.accepted else "-")
        kind = "bad" if activity.refused_share > MANY_REFUSED else "wait"
        since = timezone.now() - timedelta(hours=HOURS)
        query = {"state": "all", "source__id__exact": source.pk, **refused_filter(since)}
        return format_html(
            '<span class="rh-nowrap">{} <a class="rh-link" href="{}?{}">{}</a></span>',
            status_label(_percent_text(activity.refused_share), kind),
            reverse("admin:events_quarantined_changelist"),
            urlencode(query),
            f"{activity.refused:,}",
        )

    @display(description="SDK", empty_value="-")
    def sdk(self, source: SourceRow) -> SafeString | None:
        """The latest SDK; the source's page lists all of them."""
        sdks = source.activity.sdks
        if not sdks:
            return None
        more = f" and {len(sdks) - 1} more" if len(sdks) > 1 else ""
        return clipped_text(", ".join(map(str, sdks)), f"{sdks[0]}{more}", size="short")

    @display(description="SDKs seen")
    def sdks(self, source: SourceRow) -> SafeString:
        sdks = source.activity.sdks
        if not sdks:
            return format_html("{}", "none; no event has context.library")
        rows = ((sdk, relative_time(sdk.last_at)) for sdk in sdks)
        return format_html(
            '<ul class="rh-plain">{}</ul>', format_html_join("", "<li>{}, last {}</li>", rows)
        )

    @display(description="keys", ordering="active_key_count")
    def active_keys(self, source: SourceRow) -> SafeString:
        count = source.active_key_count
        return format_html("{}", count) if count else status_label("none", "bad")

    @display(description="connections", ordering="connection_count")
    def feeds(self, source: SourceRow) -> SafeString:
        if not source.connection_count:
            return status_label("none; not loaded", "wait")
        url = f"{reverse('admin:destinations_connection_changelist')}?source__id__exact={source.pk}"
        return format_html('<a class="rh-link" href="{}">{}</a>', url, source.connection_count)

    @display(description="connections")
    def destinations(self, source: SourceRow) -> SafeString:
        """The destinations of its connections, with the health of each."""
        connections = source.connections.select_related("source", "destination")
        items = [_connection_item(status) for status in connection_statuses(connections)]
        items.append(_connect_item(source, is_connected=bool(items)))
        return format_html(
            '<ul class="rh-plain">{}</ul>', format_html_join("", "{}", ((item,) for item in items))
        )

    @action(description="Disable (requests get a 404)", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self.set_enabled(request, queryset, "Disabled", enabled=False)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            WriteKey.objects.create(source=obj)

    def added_text(self, record: Source) -> str:
        return f"{record} is ready. Its write key and snippets are below."

    def record_context(self, request: HttpRequest, record: Source) -> dict[str, Any]:
        key = record.write_keys.active(timezone.now()).first()
        source_snippets = snippets(settings.DATA_PLANE_URL, key.key) if key else []
        context = {
            "base_url": settings.BASE_URL,
            "snippets": sorted(source_snippets, key=lambda snippet: not snippet.suits(record.type)),
        }
        if self.has_change_permission(request, record):
            context["keys_add_url"] = reverse("admin:sources_writekey_add", args=[record.pk])
            context["test_url"] = self.record_url("test", record.pk)
        return context

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        return {"test": self.test_view}

    def deletion_counts(self, records: Sequence[Source]) -> dict[str, int]:
        connections = Connection.objects.filter(source__in=records)
        return {
            "write keys": WriteKey.objects.filter(source__in=records).count(),
            "connections": connections.count(),
            **related_counts(connections),
            "refused requests": Quarantined.objects.filter(source__in=records).count(),
            "pending events": pending_count(list(connections.select_related("source"))),
        }

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send a test event, and show its trace if it was stored."""
        source = self.changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        key = source.write_keys.active(timezone.now()).first()
        if key is None:
            messages.error(request, "The source has no active write key. Add one.")
            return self.record_redirect(pk)
        sample = send_sample_event(key.key, client_address(request.META))
        if not sample.outcome.accepted:
            answer = sample.outcome.answer.strip()
            messages.error(request, f"Refused with {sample.outcome.status}: {answer}")
            return self.record_redirect(pk)
        self.log_change(request, source, "Sent a test event.")
        messages.success(request, "Accepted and stored. Its trace is below.")
        event = Event.objects.get(message_id=sample.message_id, source_id=pk)
        return HttpResponseRedirect(reverse("admin:events_event_change", args=[event.pk]))


def _connection_item(status: ConnectionStatus) -> SafeString:
    return format_html(
        '<li><a class="rh-link" href="{}">→ {}</a> {}</li>',
        reverse("admin:destinations_connection_change", args=[status.connection.pk]),
        status.connection.destination,
        status_label(status.health.word, status.health.kind),
    )


def _connect_item(source: SourceRow, *, is_connected: bool) -> SafeString:
    """A link that connects the source, for users with the permission."""
    if not source.may_be_connected:
        return format_html("{}", "" if is_connected else "none; its events stay in the log")
    url = f"{reverse('admin:destinations_connection_add')}?source={source.pk}"
    words = "Connect it to another destination" if is_connected else "Connect it to a destination"
    return format_html('<li><a class="rh-link" href="{}">{}</a></li>', url, words)


def _percent_text(share: float) -> str:
    return f"{100 * share:.1f} %" if 100 * share >= 0.1 else "< 0.1 %"  # noqa: PLR2004
