"""Tables of the warehouses, and what one of them has of an event."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import format_html
from django.utils.safestring import SafeString
from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.models import Connection, Destination
from destinations.postgres import browsing
from destinations.postgres.config import PostgresConfig
from destinations.warehouse.schema import EXTRA_COLUMN
from events.admin import trail as trails
from events.masking import HIDDEN, PERMISSION
from events.models import Event
from rudderhub.warehouses import (
    ask_each,
    chosen,
    may_view,
    note,
    page,
    telling_faults,
    warehouse,
    warehouses,
)
from sources.display import when

MOST_COLUMNS = 1600
WHOLE_NUMBERS = ("bigint", "integer", "smallint")


def tables(request: HttpRequest) -> HttpResponse:
    may_view(request)
    every, wanted = warehouses(), request.GET.get("q", "").strip()
    asked = chosen(every, request)
    answers, faults = ask_each(asked, browsing.tables)
    found = [
        (destination, _shown(kept, wanted), _budget(destination)) for destination, kept in answers
    ]
    if wanted:
        found = [each for each in found if each[1]]
    context = {
        "title": "Tables",
        "found": found,
        "faults": faults,
        "warehouses": every,
        "asked": asked,
        "wanted": wanted,
    }
    return page(request, "rudderhub/tables.html", context)


@telling_faults
def table(request: HttpRequest, pk: int, schema: str, name: str) -> HttpResponse:
    """Its columns, some rows or the one with an id, and a query to copy."""
    may_view(request)
    destination, config = warehouse(pk, schema)
    sees = request.user.has_perm(PERMISSION)
    row_id = request.GET.get("id", "")
    with browsing.opened(config) as conn:
        columns = browsing.columns(conn, schema, name)
        names, rows = browsing.preview(conn, schema, name, row_id) if columns else ([], [])
        discarded = browsing.discards_by_column(conn, schema, name)
    if not columns:
        raise Http404
    if sees:
        note(request, destination, f"Viewed rows of {schema}.{name}.")
    else:
        rows = [tuple(HIDDEN if value is not None else None for value in row) for row in rows]
    context = {
        "title": f"{schema}.{name}",
        "destination": destination,
        "schema": schema,
        "table": name,
        "columns": [(each, _fill(each), discarded.get(each.name, 0)) for each in columns],
        "whole_numbers": WHOLE_NUMBERS,
        "is_full": any(each.name == EXTRA_COLUMN for each in columns),
        "budget": _budget(destination),
        "sees": sees,
        "may_change": request.user.has_perm("destinations.change_destination"),
        "names": names,
        "rows": rows,
        "query": SQL("SELECT * FROM {} LIMIT 100;")
        .format(pgsql.Identifier(schema, name))
        .as_string(),
    }
    return page(request, "rudderhub/table.html", context)


def look(request: HttpRequest, pk: int, connection_pk: int) -> HttpResponse:
    """What the warehouse of a connection has of an event: rows, discards and profile."""
    may_view(request)
    event = get_object_or_404(Event, pk=pk)
    known = Connection.objects.select_related("source", "destination")
    connection = get_object_or_404(known, pk=connection_pk, source_id=event.source_id)
    sees = request.user.has_perm(PERMISSION)
    trail = trails.look(connection, event, sees=sees)
    if sees:
        note(request, connection.destination, f"Viewed the rows of {event}.")
    title = f"{event} in {connection.destination}"
    context = {"title": title, "event": event, "trail": trail}
    return page(request, "rudderhub/look.html", context)


def _shown(
    kept: Sequence[browsing.TableSummary], wanted: str
) -> list[tuple[browsing.TableSummary, str, SafeString]]:
    """Those whose name holds the text, with their rows and the newest."""
    return [
        (each, _rows(each), _newest(each))
        for each in kept
        if wanted.lower() in f"{each.schema}.{each.name}".lower()
    ]


def _budget(destination: Destination) -> int:
    config = PostgresConfig.of(destination.config, destination.secrets)
    return config.column_budget or MOST_COLUMNS


def _rows(table: browsing.TableSummary) -> str:
    if table.rows is None:
        return "not sampled yet"
    return f"{table.rows:,}" if table.exact else f"≈ {table.rows:,}"


def _newest(table: browsing.TableSummary) -> SafeString:
    if table.newest is None:
        return when(None, never="-")
    return format_html("{}{}", "" if table.exact else "≈ ", when(table.newest))


def _fill(column: browsing.ColumnSummary) -> str:
    if column.fill is None:
        return "no rows" if column.exact else "not sampled yet"
    return f"{'' if column.exact else '≈ '}{column.fill:.0%}"
