from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

from sources import scripts
from sources.errors import RefusedError, line
from sources.scripts import Script, ScriptMissingError

HOUR = "public, max-age=3600"
FOR_EVER = "public, max-age=31536000, immutable"


def rudderstack_view(request: HttpRequest, build: str) -> HttpResponse:
    return _answer(request, lambda: scripts.rudderstack(build), HOUR)


def segment_view(request: HttpRequest) -> HttpResponse:
    """The same file for every key: the SDK finds its key in the page."""
    return _answer(request, scripts.segment, HOUR)


def segment_bundle_view(request: HttpRequest, name: str) -> HttpResponse:
    """The name holds a digest of the file."""
    return _answer(request, lambda: scripts.segment_bundle(name), FOR_EVER)


def _answer(request: HttpRequest, find: Callable[[], Script], caching: str) -> HttpResponse:
    try:
        script = find()
    except ScriptMissingError as missing:
        return line(RefusedError(404, f"Not found: {missing}"))
    zipped = "gzip" in request.META.get("HTTP_ACCEPT_ENCODING", "")
    response = HttpResponse(
        script.gzipped if zipped else script.body, content_type="text/javascript; charset=utf-8"
    )
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = caching
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["ETag"] = script.etag
    response.headers["X-Content-Type-Options"] = "nosniff"
    found = get_conditional_response(request, etag=script.etag, response=response)
    return found if isinstance(found, HttpResponse) else response
