"""Queries warehouses for pages, all at once and each for a few seconds at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from destinations.postgres.reads import tables
from events.loads.advice import Advice, advice

MOST_AT_ONCE = 32
Answer = TypeVar("Answer")
View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Fault:
    """Why a warehouse could not be queried, and what to do about it."""

    destination: Destination
    error: str

    @property
    def advice(self) -> Advice:
        return advice(self.error)


def query_warehouses(
    destinations: Iterable[Destination], query: Callable[[Conn, Sequence[str]], Answer]
) -> tuple[list[tuple[Destination, Answer]], list[Fault]]:
    """The answer of each destination, and the faults; the query gets a connection and schemas."""

    def answer_or_fault(destination: Destination, schemas: Sequence[str]) -> Answer | Fault:
        try:
            config = PostgresConfig.from_config(destination.config, destination.secrets)
            with tables.connect_read_only(config) as conn:
                return query(conn, schemas)
        except (DestinationError, DestinationUnavailableError) as error:
            return Fault(destination, str(error))

    destinations = list(destinations)
    schemas = [destination.namespaces() for destination in destinations]
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        results = list(pool.map(answer_or_fault, destinations, schemas))
    answers = [
        (destination, result)
        for destination, result in zip(destinations, results, strict=True)
        if not isinstance(result, Fault)
    ]
    return answers, [result for result in results if isinstance(result, Fault)]


def with_fault_page(view: View) -> View:
    """Make the view of one destination show a page with the fault of the warehouse."""

    @wraps(view)
    def wrapped(request: HttpRequest, pk: int, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, pk, *args, **kwargs)
        except (DestinationError, DestinationUnavailableError) as error:
            fault = Fault(get_object_or_404(Destination, pk=pk), str(error))
            context = {"title": f"{fault.destination} cannot be queried", "fault": fault}
            return render_page(request, "rudderhub/data/fault.html", context, status=503)

    return wrapped


def warehouses() -> list[Destination]:
    return list(Destination.objects.filter(type="POSTGRES"))


def chosen_destinations(
    destinations: Sequence[Destination], request: HttpRequest
) -> list[Destination]:
    """The destination in the request's query, or all of them if it has none."""
    pk = request.GET.get("destination", "")
    return [destination for destination in destinations if pk in ("", str(destination.pk))]


def warehouse(pk: int, schema: str) -> tuple[Destination, PostgresConfig]:
    """The destination and its config; 404 for a schema of another destination."""
    destination = get_object_or_404(Destination, pk=pk, type="POSTGRES")
    if schema not in destination.namespaces():
        raise Http404
    return destination, PostgresConfig.from_config(destination.config, destination.secrets)


def require_view_permission(request: HttpRequest) -> None:
    if not request.user.has_perm("destinations.view_destination"):
        raise PermissionDenied


def render_page(
    request: HttpRequest, template: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    full_context = {**admin.site.each_context(request), **context}
    return TemplateResponse(request, template, full_context, status=status)
