"""The configuration endpoints of SDKs; an SDK that gets no answer never starts."""

from __future__ import annotations

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from sources.authentication import basic_credentials, query_key, source_of_key
from sources.client_address import is_trusted_proxy
from sources.refusals import MISSING_KEY, SOURCE_DISABLED, RefusedError, refusal_response
from sources.sdk.config import public_url, segment_settings, source_config

JSON = "application/json"


def source_config_view(request: HttpRequest) -> HttpResponse:
    """Answers for a disabled source as well, since the document stops its SDK from sending."""
    try:
        key = _request_key(request)
        document = source_config(source_of_key(key, request.META), key)
    except RefusedError as refused:
        return refusal_response(refused)
    return HttpResponse(orjson.dumps(document), content_type=JSON)


def segment_settings_view(request: HttpRequest, key: str) -> HttpResponse:
    try:
        source = source_of_key(key, request.META)
        if not source.enabled:
            return refusal_response(RefusedError(*SOURCE_DISABLED))
    except RefusedError as refused:
        return refusal_response(refused)
    trusted = is_trusted_proxy(request.META.get("REMOTE_ADDR", ""))
    url = public_url(request.META, settings.BASE_URL, behind_trusted_proxy=trusted)
    return HttpResponse(
        orjson.dumps(segment_settings(key, url + settings.PATH_PREFIX)), content_type=JSON
    )


def _request_key(request: HttpRequest) -> str:
    credentials = basic_credentials(request.META.get("HTTP_AUTHORIZATION", ""))
    key = credentials[0] if credentials else query_key(request.META.get("QUERY_STRING", ""))
    if not key:
        raise RefusedError(*MISSING_KEY)
    return key
