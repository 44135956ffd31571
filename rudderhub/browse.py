"""Tables and discards of the warehouses."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from psycopg.sql import SQL, Identifier

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Connection, Destination
from destinations.postgres import browsing
from destinations.postgres.config import PostgresConfig
from events.admin import trail as trails
from events.masking import HIDDEN, PERMISSION
from events.models import Event
from rudderhub.reapplying import Column, Progress
from rudderhub.tasks import widen_and_reapply
from sources.display import when

MOST_COLUMNS = 1600


def tables(request: HttpRequest) -> HttpResponse:
    _may_view(request)
    found, faults = [], []
    for destination in Destination.objects.filter(type="POSTGRES"):
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            with browsing.opened(config) as conn:
                kept = browsing.tables(conn, _schemas(destination))
            shown = [(each, _rows(each), _newest(each)) for each in kept]
            found.append((destination, shown, config.column_budget or MOST_COLUMNS))
        except (DestinationError, DestinationUnavailableError) as error:
            faults.append((destination, str(error)))
    return _page(request, "rudderhub/tables.html", "Tables", found=found, faults=faults)


def table(request: HttpRequest, pk: int, schema: str, name: str) -> HttpResponse:
    """Its columns, some rows or the one with an id, and a query to copy."""
    _may_view(request)
    destination, config = _warehouse(pk, schema)
    sees = request.user.has_perm(PERMISSION)
    row_id = request.GET.get("id", "")
    try:
        with browsing.opened(config) as conn:
            columns = browsing.columns(conn, schema, name)
            names, rows = browsing.preview(conn, schema, name, row_id) if columns else ([], [])
            discarded = browsing.discards_by_column(conn, schema, name)
    except DestinationUnavailableError as error:
        messages.error(request, f"{destination} does not answer: {error}")
        return HttpResponseRedirect(reverse("tables"))
    if not columns:
        raise Http404
    if sees:
        _note(request, destination, f"Looked at rows of {schema}.{name}.")
    else:
        rows = [tuple(HIDDEN if value is not None else None for value in row) for row in rows]
    context = {
        "destination": destination,
        "schema": schema,
        "table": name,
        "columns": [(column, discarded.get(column.name, 0)) for column in columns],
        "budget": config.column_budget or MOST_COLUMNS,
        "sees": sees,
        "may_change": request.user.has_perm("destinations.change_destination"),
        "names": names,
        "rows": rows,
        "query": SQL("SELECT * FROM {} LIMIT 100;").format(Identifier(schema, name)).as_string(),
    }
    return _page(request, "rudderhub/table.html", f"{schema}.{name}", **context)


def look(request: HttpRequest, pk: int, connection_pk: int) -> HttpResponse:
    """What the warehouse of a connection has of an event: rows, discards and profile."""
    _may_view(request)
    event = get_object_or_404(Event, pk=pk)
    known = Connection.objects.select_related("source", "destination")
    connection = get_object_or_404(known, pk=connection_pk, source_id=event.source_id)
    trail = trails.look(connection, event, sees=request.user.has_perm(PERMISSION))
    context = {"event": event, "trail": trail}
    return _page(request, "rudderhub/look.html", f"{event} in {connection.destination}", **context)


def discards(request: HttpRequest) -> HttpResponse:
    _may_view(request)
    wanted = request.GET.get("q", "").strip()
    found, faults = [], []
    for destination in Destination.objects.filter(type="POSTGRES"):
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            with browsing.opened(config) as conn:
                found += [
                    (destination, schema, groups)
                    for schema in _schemas(destination)
                    if (groups := _matching(browsing.discard_groups(conn, schema), wanted))
                ]
        except (DestinationError, DestinationUnavailableError) as error:
            faults.append((destination, str(error)))
    return _page(
        request,
        "rudderhub/discards.html",
        "Discards",
        found=found,
        faults=faults,
        wanted=wanted,
        sees=request.user.has_perm(PERMISSION),
        may_change=request.user.has_perm("destinations.change_destination"),
    )


def discards_file(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    _may_view(request)
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    destination, config = _warehouse(pk, schema)
    with browsing.opened(config) as conn:
        rows = list(browsing.discards(conn, schema))
    _note(request, destination, f"Exported {len(rows)} discards of {schema}.")
    body = "".join(_csv(iter(rows)))
    response = HttpResponse(body, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="discards-{schema}.csv"'
    return response


def widen(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    """Says what will happen to a column, then has a worker do it."""
    if not request.user.has_perm("destinations.change_destination"):
        raise PermissionDenied
    destination, config = _warehouse(pk, schema)
    name, column = request.GET.get("table", ""), request.GET.get("column", "")
    chosen = Column(destination.pk, schema, name, column)
    if request.method == "POST":
        _begin(request, chosen)
        return HttpResponseRedirect(request.get_full_path())
    with browsing.opened(config) as conn:
        groups = browsing.discard_groups(conn, schema)
    count = sum(group.values for group in groups if (group.table, group.column) == (name, column))
    return _page(
        request,
        "rudderhub/widen.html",
        f"Re-apply {name}.{column}",
        column=chosen,
        count=count,
        progress=chosen.progress(),
    )


def _begin(request: HttpRequest, column: Column) -> None:
    """Unless it runs."""
    known = column.progress()
    if known and not known.outcome:
        messages.warning(request, "It runs already.")
        return
    place = (column.destination_pk, column.schema, column.table, column.name)
    column.tell(Progress())
    try:
        widen_and_reapply.delay(*place, int(request.user.pk or 0))
    except OperationalError:
        column.forget()
        messages.error(request, "The broker does not answer: nothing was begun.")


def _matching(
    groups: Sequence[browsing.DiscardGroup], wanted: str
) -> list[tuple[browsing.DiscardGroup, SafeString, SafeString]]:
    """Those whose table, column or reason holds the text, with their times."""
    return [
        (each, when(each.first), when(each.last))
        for each in groups
        if wanted.lower() in f"{each.table}.{each.column} {each.reason}".lower()
    ]


def _csv(rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    yield "table,column,value,reason,row,received_at\r\n"
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow(row)
        yield line.getvalue()


def _schemas(destination: Destination) -> list[str]:
    spaces = Connection.objects.filter(destination=destination).exclude(namespace="")
    return sorted(set(spaces.values_list("namespace", flat=True)))


def _warehouse(pk: int, schema: str) -> tuple[Destination, PostgresConfig]:
    destination = get_object_or_404(Destination, pk=pk, type="POSTGRES")
    if schema not in _schemas(destination):
        raise Http404
    return destination, PostgresConfig.of(destination.config, destination.secrets)


def _rows(table: browsing.Table) -> str:
    if table.rows is None:
        return "not sampled yet"
    return f"{table.rows:,}" if table.exact else f"≈ {table.rows:,}"


def _newest(table: browsing.Table) -> SafeString:
    if table.newest is None:
        return when(None, never="-")
    return format_html("{}{}", "" if table.exact else "≈ ", when(table.newest))


def _note(request: HttpRequest, destination: Destination, text: str) -> None:
    user_pk = int(request.user.pk or 0)
    LogEntry.objects.log_actions(user_pk, [destination], CHANGE, text)


def _may_view(request: HttpRequest) -> None:
    if not request.user.has_perm("destinations.view_destination"):
        raise PermissionDenied


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return TemplateResponse(
        request, template, {**admin.site.each_context(request), "title": title, **context}
    )
