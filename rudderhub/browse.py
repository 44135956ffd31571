"""Tables and discards of the warehouses, and the state of the parts."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import django
from django.conf import settings
from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import connection as database
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from kombu.exceptions import OperationalError
from psycopg.sql import SQL, Identifier
from redis.exceptions import RedisError

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Connection, Destination
from destinations.postgres import browsing
from destinations.postgres.config import PostgresConfig
from events.admin import trail as trails
from events.counting import uncounted
from events.masking import HIDDEN, PERMISSION
from events.models import Event
from rudderhub.celery import app
from rudderhub.env import DEFAULTS, PREFIX, Env
from rudderhub.tasks import widen_and_reapply

SECRET_PARTS = ("KEY", "TOKEN", "URL")
MOST_COLUMNS = 1600


@dataclass(frozen=True)
class Part:
    """A part of the instance, and whether it works."""

    name: str
    good: bool
    detail: str


def tables(request: HttpRequest) -> HttpResponse:
    _may_view(request)
    found, faults = [], []
    for destination in Destination.objects.filter(type="POSTGRES"):
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            with browsing.opened(config) as conn:
                kept = browsing.tables(conn, _schemas(destination))
            found.append((destination, kept, config.column_budget or MOST_COLUMNS))
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
    except DestinationUnavailableError as error:
        messages.error(request, f"{destination} does not answer: {error}")
        return HttpResponseRedirect(reverse("tables"))
    if not columns:
        raise Http404
    if not sees:
        rows = [tuple(HIDDEN if value is not None else None for value in row) for row in rows]
    context = {
        "destination": destination,
        "columns": columns,
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
    found, faults = [], []
    for destination in Destination.objects.filter(type="POSTGRES"):
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            with browsing.opened(config) as conn:
                found += [
                    (destination, schema, groups)
                    for schema in _schemas(destination)
                    if (groups := browsing.discard_groups(conn, schema))
                ]
        except (DestinationError, DestinationUnavailableError) as error:
            faults.append((destination, str(error)))
    return _page(
        request,
        "rudderhub/discards.html",
        "Discards",
        found=found,
        faults=faults,
        sees=request.user.has_perm(PERMISSION),
        may_change=request.user.has_perm("destinations.change_destination"),
    )


def discards_file(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    _may_view(request)
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    _, config = _warehouse(pk, schema)
    with browsing.opened(config) as conn:
        body = "".join(_csv(browsing.discards(conn, schema)))
    response = HttpResponse(body, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="discards-{schema}.csv"'
    return response


def widen(request: HttpRequest, pk: int, schema: str) -> HttpResponse:
    """Says what will happen to a column, then has a worker do it."""
    if not request.user.has_perm("destinations.change_destination"):
        raise PermissionDenied
    destination, config = _warehouse(pk, schema)
    name, column = request.GET.get("table", ""), request.GET.get("column", "")
    if request.method == "POST":
        try:
            widen_and_reapply.delay(destination.pk, schema, name, column, int(request.user.pk or 0))
        except OperationalError:
            messages.error(request, "The broker does not answer: nothing was begun.")
        else:
            messages.success(request, "A worker does it now; the audit log tells the outcome.")
        return HttpResponseRedirect(reverse("discards"))
    with browsing.opened(config) as conn:
        groups = browsing.discard_groups(conn, schema)
    count = sum(group.values for group in groups if (group.table, group.column) == (name, column))
    lines = [
        f"{count:,} values of {schema}.{name}.{column} were discarded.",
        "A whole-number column becomes numeric: the table is written anew and locked meanwhile.",
        "A column of another type stays.",
        "Then every discarded value that fits is written into its row.",
    ]
    context = {"lines": lines, "yes": "Widen and re-apply", "back": reverse("discards")}
    return _page(request, "sources/confirm.html", f"Re-apply {name}.{column}", **context)


def system(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("auth.view_user"):
        raise PermissionDenied
    parts = [_try("Postgres", _postgres), _try("Cache", _cache), _try("Workers", _workers)]
    parts += [_try("Beat", _beat), _try("Disk", _disk)]
    values = Env()
    shown = [(PREFIX + name, _masked(name, values.text(name))) for name in sorted(DEFAULTS)]
    return _page(request, "rudderhub/system.html", "System", parts=parts, values=shown)


def _postgres() -> str:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT version(), pg_size_pretty(pg_database_size(current_database())),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
        )
        version, size, sessions = cursor.fetchone()
    return f"{version.partition(' on ')[0]}, {size}, {sessions} connections"


def _cache() -> str:
    cache.set("system:look", 1, timeout=5)
    return "answers" if cache.get("system:look") else "forgets at once"


def _workers() -> str:
    found = app.control.ping(timeout=0.15)
    if not found:
        raise OperationalError("no worker answers: nothing is loaded until one runs")
    return f"{len(found)} answer"


def _beat() -> str:
    """Beat has the log counted every ten seconds."""
    behind = uncounted()
    return f"{behind:,} events of the log are not counted yet" if behind else "the log is counted"


def _disk() -> str:
    usage = shutil.disk_usage(settings.DATA_DIR or settings.VAR_DIR)
    free, total = usage.free // 2**20, usage.total // 2**20
    if free < settings.MIN_FREE_MB:
        raise OSError(f"{free:,} MB free of {total:,}: events are refused")
    return f"{free:,} MB free of {total:,}"


def _try(name: str, look: Callable[[], str]) -> Part:
    try:
        return Part(name, good=True, detail=look())
    except (OperationalError, RedisError, OSError, django.db.Error) as error:
        return Part(name, good=False, detail=str(error))


def _masked(name: str, value: str) -> str:
    return HIDDEN if value and any(part in name for part in SECRET_PARTS) else value


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


def _may_view(request: HttpRequest) -> None:
    if not request.user.has_perm("destinations.view_destination"):
        raise PermissionDenied


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return TemplateResponse(
        request, template, {**admin.site.each_context(request), "title": title, **context}
    )
