from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.views import ChangeList

from destinations.models import Connection
from events.activity import HOURS, Activity, activity, refused_in
from events.admin.fare import add_backlogs, health_of
from events.admin.going import unloaded, with_connections
from events.models import Event, Quarantined
from events.trials import send_test_event
from rudderhub.admin.data.sources import SourceAdmin
from sources import sparkline
from sources.addresses import client_address
from sources.display import clipped, label, when
from sources.models import Source, WriteKey

MANY_REFUSED = 0.01


class SourceChangeList(ChangeList):
    """One look at the counts for all sources of the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        _add_activity(self.result_list)


admin.site.unregister(Source)


@admin.register(Source)
class LoggedSourceAdmin(SourceAdmin):
    """The admin of sources, which knows no log, with what the log says of them."""

    list_display = (
        *("name", "kind", "on", "day", "errors", "last_event", "sdk", "active_keys", "feeds"),
    )
    readonly_fields = (
        *SourceAdmin.readonly_fields,
        *("day", "errors", "last_event", "sdks", "destinations"),
    )
    fieldsets = (
        SourceAdmin.fieldsets[0],
        ("What it sends", {"fields": (("day", "errors"), ("last_event", "sdks"), "destinations")}),
        *SourceAdmin.fieldsets[1:],
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SourceChangeList]:
        return SourceChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Source | None:
        source: Source | None = super().get_object(request, object_id, from_field)
        if source is not None:
            _add_activity([source])
            may = request.user.has_perm("destinations.add_connection")
            source.may_be_connected = may  # type: ignore[attr-defined]
        return source

    @display(description="events in 24 h")
    def day(self, source: Source) -> SafeString:
        found = _of(source)
        if not found.accepted:
            return format_html("{}", "0")
        return format_html(
            '<span class="rh-day">{} <svg class="rh-spark" viewBox="0 0 {} {}" role="img"'
            ' aria-label="{}"><title>{}</title><path d="{}"/></svg></span>',
            f"{found.accepted:,}",
            sparkline.width(found.hours),
            sparkline.HEIGHT,
            _hours_in_words(found),
            _hours_in_words(found),
            sparkline.bars(found.hours),
        )

    @display(description="refused")
    def errors(self, source: Source) -> SafeString:
        """Of the requests that came and could be kept; those with an unknown key name no source."""
        found = _of(source)
        if not found.refused:
            return format_html("{}", "0 %" if found.accepted else "-")
        share = label(_percent(found), "bad" if found.refused_share > MANY_REFUSED else "wait")
        since = timezone.now() - timedelta(hours=HOURS)
        wanted = {"source__id__exact": source.pk, **refused_in(since)}
        return format_html(
            '<span class="rh-nowrap">{} <a class="rh-link" href="{}?{}">{}</a></span>',
            share,
            reverse("admin:events_quarantined_changelist"),
            urlencode({"state": "all", **wanted}),
            f"{found.refused:,}",
        )

    @display(description="last event")
    def last_event(self, source: Source) -> SafeString:
        return when(_of(source).last_at, never="none yet")

    @display(description="SDK", empty_value="-")
    def sdk(self, source: Source) -> SafeString | None:
        """The latest; the source's page has them all."""
        seen = _of(source).sdks
        if not seen:
            return None
        more = f" and {len(seen) - 1} more" if len(seen) > 1 else ""
        every = ", ".join(map(str, seen))
        return clipped(every, f"{seen[0]}{more}", size="short")

    @display(description="SDKs seen")
    def sdks(self, source: Source) -> SafeString:
        seen = _of(source).sdks
        if not seen:
            return format_html("{}", "none: no event has named one in context.library")
        rows = ((each, when(each.last_at)) for each in seen)
        return format_html(
            '<ul class="rh-plain">{}</ul>', format_html_join("", "<li>{}, last {}</li>", rows)
        )

    @display(description="connections", ordering="connection_count")
    def feeds(self, source: Source) -> SafeString:
        url = f"{reverse('admin:destinations_connection_changelist')}?source__id__exact={source.pk}"
        count: int = source.connection_count  # type: ignore[attr-defined]
        if not count:
            return super().feeds(source)
        return format_html('<a class="rh-link" href="{}">{}</a>', url, count)

    @display(description="connections")
    def destinations(self, source: Source) -> SafeString:
        """Where its events go, and how each connection fares."""
        connections = list(source.connections.select_related("source", "destination"))
        add_backlogs(connections)
        rows = ((_url_of(each), each.destination, _health(each)) for each in connections)
        fed = format_html_join("", '<li><a class="rh-link" href="{}">→ {}</a> {}</li>', rows)
        return format_html('<ul class="rh-plain">{}{}</ul>', fed, _connect(source, connections))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if self.has_change_permission(request) and object_id.isdecimal():
            context["test_url"] = reverse("admin:sources_source_test", args=[object_id])
        return super().change_view(request, object_id, form_url, context)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """With counts."""
        chosen = list(objs)
        words, counts, lacking, protected = super().get_deleted_objects(chosen, request)
        return words, {**counts, **_going(chosen)}, lacking, protected

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.test_view)
        return [path("<int:pk>/test/", view, name="sources_source_test"), *super().get_urls()]

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send a test event; to its trace when it was stored."""
        source = self._changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        back = HttpResponseRedirect(reverse("admin:sources_source_change", args=[pk]))
        key = source.write_keys.active(timezone.now()).first()
        if key is None:
            messages.error(request, "There is no active write key to send with: add one.")
            return back
        trial = send_test_event(key.key, client_address(request.META))
        if not trial.outcome.accepted:
            what = f"Refused with {trial.outcome.status}: {trial.outcome.answer.strip()}"
            messages.error(request, what)
            return back
        self.log_change(request, source, "Sent a test event.")
        messages.success(request, "Accepted and stored. Below is what becomes of it.")
        event = _stored(source, trial.message_id)
        return HttpResponseRedirect(reverse("admin:events_event_change", args=[event.pk]))


def _stored(source: Source, message_id: str) -> Event:
    found: QuerySet[Event] = Event.objects.filter(message_id=message_id, source_id=source.pk)
    return found.get()


def _going(sources: list[Source]) -> dict[str, int]:
    connections = Connection.objects.filter(source__in=sources)
    return {
        "write keys": WriteKey.objects.filter(source__in=sources).count(),
        "connections": connections.count(),
        **with_connections(connections),
        "refused requests": Quarantined.objects.filter(source__in=sources).count(),
        "pending events": unloaded(list(connections.select_related("source"))),
    }


def _connect(source: Source, connections: list[Connection]) -> SafeString:
    """A line that leads on, for those who may connect it."""
    if not getattr(source, "may_be_connected", False):
        return format_html("{}", "" if connections else "none: its events stay in the log")
    url = f"{reverse('admin:destinations_connection_add')}?source={source.pk}"
    words = "Connect it to another destination" if connections else "Connect it to a destination"
    return format_html('<li><a class="rh-link" href="{}">{}</a></li>', url, words)


def _url_of(connection: Connection) -> str:
    return reverse("admin:destinations_connection_change", args=[connection.pk])


def _health(connection: Connection) -> SafeString:
    found = health_of(connection)
    return label(found.word, found.kind)


def _add_activity(sources: list[Source]) -> None:
    found = activity([source.pk for source in sources], timezone.now())
    for source in sources:
        source.activity = found[source.pk]  # type: ignore[attr-defined]


def _of(source: Source) -> Activity:
    """A source that is just being added has none."""
    return getattr(source, "activity", None) or Activity()


def _hours_in_words(found: Activity) -> str:
    last, most = found.hours[-1], max(found.hours)
    return f"events by hour, up to {most:,} in one; {last:,} in the last"


def _percent(found: Activity) -> str:
    share = 100 * found.refused_share
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"  # noqa: PLR2004
