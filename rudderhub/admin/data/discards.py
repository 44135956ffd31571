"""The pages of discards: the list, its export as CSV, and widening a column to recover them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from destinations.postgres.operations.reapply_preview import reapply_preview
from destinations.postgres.reads import tables
from destinations.postgres.reads.tables import DiscardFilter
from events.loads.discards import DiscardColumn
from events.protocol.masking import PERMISSION
from events.tasks import reapply_column_discards
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

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
_BYTE_ORDER_MARK = "\ufeff"


def discards(request: HttpRequest) -> HttpResponse:
    require_view_permission(request)
    destinations, wanted = warehouses(), _wanted_discards(request)
    chosen = chosen_destinations(destinations, request)

    def groups_by_schema(conn: Conn, schemas: Any) -> list[tuple[str, list[tables.DiscardGroup]]]:
        pairs = ((schema, tables.discard_groups(conn, schema, wanted)) for schema in schemas)
        return [(schema, groups) for schema, groups in pairs if groups]

    answers, faults = query_warehouses(chosen, groups_by_schema)
    sections = [
        (
            destination,
            schema,
            [(group, relative_time(group.first), relative_time(group.last)) for group in groups],
        )
        for destination, schemas in answers
        for schema, groups in schemas
    ]
    may_see = request.user.has_perm(PERMISSION)
    for destination, schema, _ in sections if may_see else ():
        audit.log_action(request.user.pk, destination, f"Viewed discards of {schema}.")
    context = {
        "title": "Discards",
        "sections": sections,
        "faults": faults,
        "warehouses": destinations,
        "chosen": chosen,
        "wanted": wanted,
        "most": tables.MOST_GROUPS,
        "may_see": may_see,
        "may_change": request.user.has_perm("destinations.change_destination"),
    }
    return render_page(request, "rudderhub/data/discards.html", context)


@with_fault_page
def discards_csv(request: HttpRequest, pk: int, schema: str) -> HttpResponseBase:
    require_view_permission(request)
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    destination, config = warehouse(pk, schema)
    wanted = _wanted_discards(request)
    with tables.connect_read_only(config) as conn:
        count = tables.count_discards(conn, schema, wanted)
    audit.log_action(
        request.user.pk,
        destination,
        f"Exported {count} discards of {schema}{_wanted_text(wanted)}.",
    )
    return StreamingHttpResponse(
        _csv_lines(config, schema, wanted),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="discards-{schema}.csv"'},
    )


@with_fault_page
def widen_column(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    """Preview widening a column; on POST a worker does it."""
    if not request.user.has_perm("destinations.change_destination"):
        raise PermissionDenied
    destination, config = warehouse(pk, schema)
    table, name = request.GET.get("table", ""), request.GET.get("column", "")
    column = DiscardColumn(destination.pk, schema, table, name)
    if request.method == "POST":
        _begin_widening(request, column)
        return HttpResponseRedirect(request.get_full_path())
    progress = column.progress()
    is_running = progress is not None and not progress.is_over
    expected = None
    if not is_running:  # a table that is being rewritten is locked
        with tables.connect_read_only(config) as conn:
            expected = reapply_preview(conn, schema, table, name)
    context = {
        "title": f"Widen {table}.{name}",
        "column": column,
        "destination": destination,
        "outlook": expected,
        "progress": progress,
        "is_running": is_running,
    }
    return render_page(request, "rudderhub/data/widen_column.html", context)


def _begin_widening(request: HttpRequest, column: DiscardColumn) -> None:
    """Start widening the column, unless it is running already."""
    args = (column.destination_pk, column.schema, column.table, column.name)
    try:
        if not column.start_progress():
            messages.warning(request, "It is already running.")
            return
        reapply_column_discards.delay(*args, int(request.user.pk or 0))
    except (OperationalError, RedisError, OSError):
        messages.error(
            request,
            "Not started: the cache or the broker does not answer. Check their state in Settings.",
        )
        column.delete_progress()


def _wanted_discards(request: HttpRequest) -> DiscardFilter:
    return DiscardFilter(request.GET.get("table", "").strip(), request.GET.get("q", "").strip())


def _wanted_text(wanted: DiscardFilter) -> str:
    table = f", table {wanted.table}" if wanted.table else ""
    return f"{table}, with {wanted.text!r}" if wanted.text else table


def _csv_lines(config: PostgresConfig, schema: str, wanted: DiscardFilter) -> Iterator[str]:
    """Lines of CSV that spreadsheets read as UTF-8, and in which no value is a formula."""
    yield f"{_BYTE_ORDER_MARK}table,column,value,reason,row,received_at\r\n"
    with tables.connect_read_only(config) as conn:
        for row in tables.discards(conn, schema, wanted):
            line = io.StringIO()
            csv.writer(line).writerow([_csv_cell(value) for value in row])
            yield line.getvalue()


def _csv_cell(value: Any) -> str:
    text = "" if value is None else str(value)
    is_formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
