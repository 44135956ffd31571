"""The headers that limit what browsers do with the admin's pages."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class PolicyMiddleware:
    """Adds the content security policy to every page that Django renders."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.path_info.startswith(("/admin/", "/setup/")):
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
            response.headers.setdefault("Cache-Control", "no-store")
        return response
