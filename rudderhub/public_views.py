"""The public pages of the instance: health, version, API documentation."""

from __future__ import annotations

import logging
import tomllib
from functools import lru_cache
from html import escape

import orjson
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from redis.exceptions import RedisError

from events.gateway import disk_space
from rudderhub.env import ROOT
from sources.refusals import NOT_FOUND, TEXT, RefusedError, refusal_response

logger = logging.getLogger(__name__)


def health(_request: HttpRequest) -> HttpResponse:
    """200 while events can be stored, else 503. All values are texts, as in RudderStack."""
    db_up, is_writable = _database_state()
    cache_up = _cache_answers()
    shortage = disk_space.shortage()
    accepting = is_writable and not shortage
    notes = {
        "Postgres does not answer; events are refused with 503": not db_up,
        "Postgres is read-only; events are refused with 503": db_up and not is_writable,
        f"{shortage}; events are refused with 503": bool(shortage),
        "the cache does not answer; rate limits are off": not cache_up,
    }
    state = {
        "server": "UP",
        "db": "UP" if db_up else "DOWN",
        "cache": "UP" if cache_up else "DOWN",
        "acceptingEvents": "TRUE" if accepting else "FALSE",
        "rateLimits": "TRUE" if cache_up else "FALSE",
        "notes": [note for note, holds in notes.items() if holds],
    }
    return _json(state, 200 if accepting else 503)


def version(_request: HttpRequest) -> HttpResponse:
    return _json({"Version": version_number(), "Features": ["gzip-req-payload"]})


def robots(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("User-agent: *\nDisallow: /\n", content_type=TEXT)


def openapi(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(_openapi_text(), content_type="application/yaml; charset=utf-8")


def docs(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(_DOCS_PAGE.format(file=escape(_openapi_text())))


def root(_request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:index"))


def not_found(_request: HttpRequest) -> HttpResponse:
    return refusal_response(RefusedError(*NOT_FOUND))


def _database_state() -> tuple[bool, bool]:
    """Whether Postgres answers, and whether it accepts writes."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only') = 'off'")
            return True, bool(cursor.fetchone()[0])
    except (DatabaseError, InterfaceError) as error:
        logger.warning("health: Postgres does not answer: %s", type(error).__name__)
        return False, False


def _cache_answers() -> bool:
    try:
        cache.get("health")
    except (RedisError, OSError) as error:
        logger.warning("health: the cache does not answer: %s", type(error).__name__)
        return False
    return True


def _json(value: object, status: int = 200) -> HttpResponse:
    response = HttpResponse(orjson.dumps(value), content_type="application/json", status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


@lru_cache(maxsize=1)
def version_number() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


@lru_cache(maxsize=1)
def _openapi_text() -> str:
    return (ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8")


_DOCS_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>rudderhub HTTP API</title>
<style>body {{ font: 1rem sans-serif; margin: 2rem auto; max-width: 60rem }}</style>
<h1>rudderhub HTTP API</h1>
<p>The contract in <a href="/openapi.yaml">openapi.yaml</a>, for any OpenAPI tool:</p>
<pre>{file}</pre>
</html>
"""
