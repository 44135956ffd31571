"""Asking warehouses for a page: all at once, each for seconds at most; and their faults."""

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
from destinations.postgres import browsing
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from events.advice import Advice, advice
from sources import audit

MOST_AT_ONCE = 32
Answer = TypeVar("Answer")
View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Fault:
    """Why a warehouse could not be asked, and the next step."""

    destination: Destination
    error: str

    @property
    def advice(self) -> Advice:
        return advice(self.error)


def ask_each(
    destinations: Iterable[Destination], question: Callable[[Conn, Sequence[str]], Answer]
) -> tuple[list[tuple[Destination, Answer]], list[Fault]]:
    """The answers about the schemas of each destination, and the faults of those without one."""

    def ask(asked: tuple[Destination, Sequence[str]]) -> Answer | Fault:
        destination, schemas = asked
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            with browsing.opened(config) as conn:
                return question(conn, schemas)
        except (DestinationError, DestinationUnavailableError) as error:
            return Fault(destination, str(error))

    every = [(each, each.namespaces()) for each in destinations]
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        told = list(zip((each for each, _ in every), pool.map(ask, every), strict=True))
    found = [(each, answer) for each, answer in told if not isinstance(answer, Fault)]
    return found, [answer for _, answer in told if isinstance(answer, Fault)]


def telling_faults(view: View) -> View:
    """The view of one destination, or why its warehouse could not be asked."""

    @wraps(view)
    def told(request: HttpRequest, pk: int, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, pk, *args, **kwargs)
        except (DestinationError, DestinationUnavailableError) as error:
            fault = Fault(get_object_or_404(Destination, pk=pk), str(error))
            context = {"title": f"{fault.destination} cannot be queried", "fault": fault}
            return page(request, "rudderhub/fault.html", context, status=503)

    return told


def warehouses() -> list[Destination]:
    return list(Destination.objects.filter(type="POSTGRES"))


def chosen(every: Sequence[Destination], request: HttpRequest) -> list[Destination]:
    """The one that the query names; all of them when it names none."""
    wanted = request.GET.get("destination", "")
    return [each for each in every if wanted in ("", str(each.pk))]


def warehouse(pk: int, schema: str) -> tuple[Destination, PostgresConfig]:
    """404 for a schema that is none of the destination's."""
    destination = get_object_or_404(Destination, pk=pk, type="POSTGRES")
    if schema not in destination.namespaces():
        raise Http404
    return destination, PostgresConfig.of(destination.config, destination.secrets)


def may_view(request: HttpRequest) -> None:
    if not request.user.has_perm("destinations.view_destination"):
        raise PermissionDenied


def note(request: HttpRequest, destination: Destination, text: str) -> None:
    audit.note(request.user.pk, destination, text)


def page(
    request: HttpRequest, template: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    shown = {**admin.site.each_context(request), **context}
    return TemplateResponse(request, template, shown, status=status)
