"""The configuration endpoints of SDKs; an SDK that gets no answer never starts."""

from __future__ import annotations

from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from sources.authentication import basic_key, query_key, source_of_key
from sources.client_address import is_trusted_proxy
from sources.refusals import MISSING_KEY, SOURCE_DISABLED, RefusedError
from sources.sdk.config import public_url, segment_settings, source_config


def source_config_view(request: HttpRequest) -> HttpResponse:
    """Answers for a disabled source as well, since the document stops its SDK from sending."""
    key = basic_key(request.META) or query_key(request.META)
    if not key:
        raise RefusedError(*MISSING_KEY)
    return _json_response(source_config(source_of_key(key, request.META), key))


def segment_settings_view(request: HttpRequest, key: str) -> HttpResponse:
    if not source_of_key(key, request.META).enabled:
        raise RefusedError(*SOURCE_DISABLED)
    trusted = is_trusted_proxy(request.META.get("REMOTE_ADDR", ""))
    url = public_url(request.META, settings.BASE_URL, behind_trusted_proxy=trusted)
    return _json_response(segment_settings(key, url + settings.PATH_PREFIX))


def _json_response(document: dict[str, Any]) -> HttpResponse:
    return HttpResponse(orjson.dumps(document), content_type="application/json")
