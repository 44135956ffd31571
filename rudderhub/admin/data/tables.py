"""The pages of a warehouse's tables: their list, and the columns and sample rows of one."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.reads import tables as reads_tables
from destinations.warehouse.rows.schema import EXTRA_COLUMN
from events.protocol.masking import HIDDEN, PERMISSION
from events.workers import audit
from rudderhub.admin.base.display import relative_time
from rudderhub.admin.data.warehouse_queries import (
    chosen_destinations,
    query_warehouses,
    render_page,
    require_view_permission,
    warehouse,
    warehouses,
    with_fault_page,
)

MOST_COLUMNS = 1600
WHOLE_NUMBERS = ("bigint", "integer", "smallint")


def tables(request: HttpRequest) -> HttpResponse:
    require_view_permission(request)
    destinations, text = warehouses(), request.GET.get("q", "").strip()
    chosen = chosen_destinations(destinations, request)
    answers, faults = query_warehouses(chosen, reads_tables.table_summaries)
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
    return render_page(request, "rudderhub/data/tables.html", context)


@with_fault_page
def table(request: HttpRequest, pk: int, schema: str, name: str) -> HttpResponse:
    """A table's columns, some rows or the row with an id, and a query to copy."""
    require_view_permission(request)
    destination, config = warehouse(pk, schema)
    may_see = request.user.has_perm(PERMISSION)
    row_id = request.GET.get("id", "")
    with reads_tables.connect_read_only(config) as conn:
        columns = reads_tables.column_summaries(conn, schema, name)
        names, rows = reads_tables.preview_rows(conn, schema, name, row_id) if columns else ([], [])
        discarded = reads_tables.discards_by_column(conn, schema, name)
    if not columns:
        raise Http404
    if may_see:
        audit.log_action(request.user.pk, destination, f"Viewed rows of {schema}.{name}.")
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
        "may_see": may_see,
        "may_change": request.user.has_perm("destinations.change_destination"),
        "names": names,
        "rows": rows,
        "query": SQL("SELECT * FROM {} LIMIT 100;")
        .format(pgsql.Identifier(schema, name))
        .as_string(),
    }
    return render_page(request, "rudderhub/data/table.html", context)


def _table_rows(
    summaries: Sequence[reads_tables.TableSummary], text: str
) -> list[tuple[reads_tables.TableSummary, str, SafeString]]:
    """The tables with the text in their name, each with its row count and newest row."""
    return [
        (table, _row_count(table), _newest_row(table))
        for table in summaries
        if text.lower() in f"{table.schema}.{table.name}".lower()
    ]


def _column_budget(destination: Destination) -> int:
    config = PostgresConfig.from_config(destination.config, destination.secrets)
    return config.column_budget or MOST_COLUMNS


def _row_count(table: reads_tables.TableSummary) -> str:
    if table.rows is None:
        return "not sampled yet"
    return f"{table.rows:,}" if table.exact else f"≈ {table.rows:,}"


def _newest_row(table: reads_tables.TableSummary) -> SafeString:
    if table.newest is None:
        return relative_time(None, never="-")
    return format_html("{}{}", "" if table.exact else "≈ ", relative_time(table.newest))


def _fill_text(column: reads_tables.ColumnSummary) -> str:
    if column.fill is None:
        return "no rows" if column.exact else "not sampled yet"
    return f"{'' if column.exact else '≈ '}{column.fill:.0%}"
