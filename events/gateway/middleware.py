"""The outermost middleware: adds CORS headers, and calls the views of exact routes directly.

Browser SDKs take an answer without CORS headers for a network failure and retry, so errors have
the headers as well. Pages behind the login have none.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from events.gateway import refusal_counter
from sources.refusals import RefusedError, method_not_allowed, refusal_response
from sources.routing import Route

CORS_METHODS = frozenset({"GET", "HEAD", "POST"})
PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
LOGIN_PREFIXES = ("/admin/", "/setup/")


class GatewayMiddleware:
    """Answers routes that find_route knows, so that Django's other middleware never sees them."""

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponse],
        find_route: Callable[[str], Route | None],
    ) -> None:
        self._get_response = get_response
        self._find_route = find_route

    def __call__(self, request: HttpRequest) -> HttpResponse:
        route = self._find_route(request.path_info)
        needs_login = request.path_info.startswith(LOGIN_PREFIXES)
        if request.method == "OPTIONS" and not needs_login:
            return _preflight_response(request, route)
        response = self._get_response(request) if route is None else _route_response(request, route)
        if not needs_login:
            _add_cors_headers(request, response)
        return response


def _route_response(request: HttpRequest, route: Route) -> HttpResponse:
    if request.method in route.methods:
        try:
            response = route.view(request, *route.arguments)
        except RefusedError as refused:
            response = refusal_response(refused)
    else:
        response = refusal_response(method_not_allowed(str(request.method)))
        response.headers["Allow"] = route.allow_header
    response.headers["Content-Length"] = str(len(response.content))
    if response.status_code >= 400:  # noqa: PLR2004
        refusal_counter.count_refusal(response.status_code)
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001 - Django would log every 4xx
    return response


def _add_cors_headers(request: HttpRequest, response: HttpResponse) -> None:
    patch_vary_headers(response, ("Origin",))
    origin = request.META.get("HTTP_ORIGIN")
    if origin and request.method in CORS_METHODS:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"


def _preflight_response(request: HttpRequest, route: Route | None) -> HttpResponse:
    method = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
    if not method:
        response = refusal_response(method_not_allowed("OPTIONS"))
        response.headers["Allow"] = route.allow_header if route else ", ".join(sorted(CORS_METHODS))
        response.headers["Vary"] = "Origin"
        response.headers["Content-Length"] = str(len(response.content))
        return response
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    response.headers["Vary"] = PREFLIGHT_VARY
    origin = request.META.get("HTTP_ORIGIN")
    if origin and method in CORS_METHODS:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = method
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Max-Age"] = "900"
        if headers := request.META.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"):
            response.headers["Access-Control-Allow-Headers"] = headers
    return response
