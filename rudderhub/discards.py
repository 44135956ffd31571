"""Discards of the warehouses: what did not fit, as a file, and putting it into its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from destinations.postgres import browsing
from destinations.postgres.browsing import Wanted
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from destinations.postgres.widening import outlook
from events.masking import PERMISSION
from rudderhub.reapplying import Column
from rudderhub.tasks import widen_and_reapply
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

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
_BYTE_ORDER_MARK = "\ufeff"


def discards(request: HttpRequest) -> HttpResponse:
    may_view(request)
    every, wanted = warehouses(), _wanted(request)
    asked = chosen(every, request)

    def groups(conn: Conn, schemas: Any) -> list[tuple[str, list[browsing.DiscardGroup]]]:
        found = ((schema, browsing.discard_groups(conn, schema, wanted)) for schema in schemas)
        return [(schema, listed) for schema, listed in found if listed]

    answers, faults = ask_each(asked, groups)
    found = [
        (destination, schema, [(each, when(each.first), when(each.last)) for each in listed])
        for destination, schemas in answers
        for schema, listed in schemas
    ]
    sees = request.user.has_perm(PERMISSION)
    for destination, schema, _ in found if sees else ():
        note(request, destination, f"Viewed discards of {schema}.")
    context = {
        "title": "Discards",
        "found": found,
        "faults": faults,
        "warehouses": every,
        "asked": asked,
        "wanted": wanted,
        "most": browsing.MOST_GROUPS,
        "sees": sees,
        "may_change": request.user.has_perm("destinations.change_destination"),
    }
    return page(request, "rudderhub/discards.html", context)


@telling_faults
def discards_file(request: HttpRequest, pk: int, schema: str) -> HttpResponseBase:
    may_view(request)
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    destination, config = warehouse(pk, schema)
    wanted = _wanted(request)
    with browsing.opened(config) as conn:
        count = browsing.count_discards(conn, schema, wanted)
    note(request, destination, f"Exported {count} discards of {schema}{_narrowed(wanted)}.")
    return StreamingHttpResponse(
        _lines(config, schema, wanted),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="discards-{schema}.csv"'},
    )


@telling_faults
def widen(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    """Says what will happen to a column, then has a worker do it."""
    if not request.user.has_perm("destinations.change_destination"):
        raise PermissionDenied
    destination, config = warehouse(pk, schema)
    name, column = request.GET.get("table", ""), request.GET.get("column", "")
    column_of = Column(destination.pk, schema, name, column)
    if request.method == "POST":
        _begin(request, column_of)
        return HttpResponseRedirect(request.get_full_path())
    progress = column_of.progress()
    is_running = progress is not None and not progress.is_over
    expected = None
    if not is_running:  # a table that is being rewritten is locked
        with browsing.opened(config) as conn:
            expected = outlook(conn, schema, name, column)
    context = {
        "title": f"Widen {name}.{column}",
        "column": column_of,
        "destination": destination,
        "outlook": expected,
        "progress": progress,
        "is_running": is_running,
    }
    return page(request, "rudderhub/widen.html", context)


def _begin(request: HttpRequest, column: Column) -> None:
    """Unless it runs."""
    place = (column.destination_pk, column.schema, column.table, column.name)
    try:
        if not column.begin():
            messages.warning(request, "It is already running.")
            return
        widen_and_reapply.delay(*place, int(request.user.pk or 0))
    except (OperationalError, RedisError, OSError):
        messages.error(
            request,
            "Not started: the cache or the broker does not answer. Check their state in Settings.",
        )
        column.forget()


def _wanted(request: HttpRequest) -> Wanted:
    return Wanted(request.GET.get("table", "").strip(), request.GET.get("q", "").strip())


def _narrowed(wanted: Wanted) -> str:
    table = f", table {wanted.table}" if wanted.table else ""
    return f"{table}, with {wanted.text!r}" if wanted.text else table


def _lines(config: PostgresConfig, schema: str, wanted: Wanted) -> Iterator[str]:
    """CSV that spreadsheets read as UTF-8 and take for no formulas."""
    yield f"{_BYTE_ORDER_MARK}table,column,value,reason,row,received_at\r\n"
    with browsing.opened(config) as conn:
        for row in browsing.discards(conn, schema, wanted):
            line = io.StringIO()
            csv.writer(line).writerow([_cell(value) for value in row])
            yield line.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    is_formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
