"""Serves the browser SDKs."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

from sources.refusals import RefusedError
from sources.sdk import scripts
from sources.sdk.scripts import Script, ScriptMissingError

HOUR = "public, max-age=3600"
IMMUTABLE = "public, max-age=31536000, immutable"


def rudderstack_view(request: HttpRequest, build: str) -> HttpResponse:
    return _script_response(request, lambda: scripts.rudderstack_script(build), HOUR)


def segment_view(request: HttpRequest) -> HttpResponse:
    """Serves one file for every key, since the SDK finds its key in the page."""
    return _script_response(request, scripts.segment_script, HOUR)


def segment_bundle_view(request: HttpRequest, name: str) -> HttpResponse:
    """Serves a bundle; browsers may cache it for good, since its name holds a digest."""
    return _script_response(request, lambda: scripts.segment_bundle(name), IMMUTABLE)


def _script_response(
    request: HttpRequest, read_script: Callable[[], Script], cache_control: str
) -> HttpResponse:
    try:
        script = read_script()
    except ScriptMissingError as missing:
        raise RefusedError(404, f"Not found: {missing}") from missing
    zipped = "gzip" in request.META.get("HTTP_ACCEPT_ENCODING", "")
    response = HttpResponse(
        script.gzipped if zipped else script.body, content_type="text/javascript; charset=utf-8"
    )
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = cache_control
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["ETag"] = script.etag
    response.headers["X-Content-Type-Options"] = "nosniff"
    conditional = get_conditional_response(request, etag=script.etag, response=response)
    return conditional if isinstance(conditional, HttpResponse) else response
