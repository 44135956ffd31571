"""The page that shows an event's rows in a warehouse."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from destinations.models import Connection
from events.models import Event
from events.protocol.masking import PERMISSION
from rudderhub.admin.data.warehouse_queries import audit_note, page, require_view_permission
from rudderhub.admin.live_events.warehouse_trace import warehouse_trail


def look(request: HttpRequest, pk: int, connection_pk: int) -> HttpResponse:
    """What the warehouse of a connection has of an event: rows, discards and profile."""
    require_view_permission(request)
    event = get_object_or_404(Event, pk=pk)
    connections = Connection.objects.select_related("source", "destination")
    connection = get_object_or_404(connections, pk=connection_pk, source_id=event.source_id)
    sees = request.user.has_perm(PERMISSION)
    trail = warehouse_trail(connection, event, sees=sees)
    if sees:
        audit_note(request, connection.destination, f"Viewed the rows of {event}.")
    title = f"{event} in {connection.destination}"
    context = {"title": title, "event": event, "trail": trail}
    return page(request, "rudderhub/live_events/warehouse_trace_page.html", context)
