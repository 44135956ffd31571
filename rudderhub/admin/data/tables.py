"""Pages that read warehouses: tables, rows of one table, and the rows of one event."""

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
from events.admin.trail import warehouse_trail
from events.masking import HIDDEN, PERMISSION
from events.models import Event
from rudderhub.warehouses import (
    audit_note,
    chosen_destinations,
    page,
    query_each,
    require_view_permission,
    warehouse,
    warehouses,
    with_fault_page,
)
from sources.display import when

MOST_COLUMNS = 1600
WHOLE_NUMBERS = ("bigint", "integer", "smallint")


def tables(request: HttpRequest) -> HttpResponse:
    require_view_permission(request)
    destinations, text = warehouses(), request.GET.get("q", "").strip()
    chosen = chosen_destinations(destinations, request)
    answers, faults = query_each(chosen, browsing.tables)
    sections = [
        (destination, _table_rows(summaries, text), _column_budget(destination))
        for destination, summaries in answers
    ]
    if text:
        sections = [(owner, rows, budget) for owner, rows, budget in sections if rows]
    context = {
        "title": "Tables",
        "sections": sections,
        "faults": faults,
        "warehouses": destinations,
        "chosen": chosen,
        "text": text,
    }
    return page(request, "rudderhub/tables.html", context)


@with_fault_page
def table(request: HttpRequest, pk: int, schema: str, name: str) -> HttpResponse:
    """A table's columns, some rows or the row with an id, and a query to copy."""
    require_view_permission(request)
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
        audit_note(request, destination, f"Viewed rows of {schema}.{name}.")
    else:
        rows = [tuple(HIDDEN if value is not None else None for value in row) for row in rows]
    context = {
        "title": f"{schema}.{name}",
        "destination": destination,
        "schema": schema,
        "table": name,
        "columns": [
            (column, _fill_text(column), discarded.get(column.name, 0)) for column in columns
        ],
        "whole_numbers": WHOLE_NUMBERS,
        "is_full": any(column.name == EXTRA_COLUMN for column in columns),
        "budget": _column_budget(destination),
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
    return page(request, "rudderhub/look.html", context)


def _table_rows(
    summaries: Sequence[browsing.TableSummary], text: str
) -> list[tuple[browsing.TableSummary, str, SafeString]]:
    """The tables whose name contains the text, each with its row count and newest row."""
    return [
        (table, _row_count(table), _newest_row(table))
        for table in summaries
        if text.lower() in f"{table.schema}.{table.name}".lower()
    ]


def _column_budget(destination: Destination) -> int:
    config = PostgresConfig.of(destination.config, destination.secrets)
    return config.column_budget or MOST_COLUMNS


def _row_count(table: browsing.TableSummary) -> str:
    if table.rows is None:
        return "not sampled yet"
    return f"{table.rows:,}" if table.exact else f"≈ {table.rows:,}"


def _newest_row(table: browsing.TableSummary) -> SafeString:
    if table.newest is None:
        return when(None, never="-")
    return format_html("{}{}", "" if table.exact else "≈ ", when(table.newest))


def _fill_text(column: browsing.ColumnSummary) -> str:
    if column.fill is None:
        return "no rows" if column.exact else "not sampled yet"
    return f"{'' if column.exact else '≈ '}{column.fill:.0%}"
