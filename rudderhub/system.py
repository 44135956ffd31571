"""The state of the parts, their versions and the settings in force."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

import django
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from events import heartbeat
from events.counting import uncounted
from events.masking import HIDDEN
from rudderhub.celery import app
from rudderhub.env import DEFAULTS, PREFIX, Env
from rudderhub.health import version_number
from sources.display import counted, length

SECRET_ENDINGS = ("_KEY", "_KEYS", "_TOKEN", "_URL")
"""Of names of settings; an address may hold a password."""
SILENT = timedelta(minutes=2)
"""Beat has the log counted every ten seconds."""
ANSWER_SECONDS = 2
PACKAGES = ("Django", "django-unfold", "djangorestframework", "celery", "psycopg", "granian")
NEWEST = 10


@dataclass(frozen=True)
class Part:
    """A part of the instance, and whether it works."""

    name: str
    good: bool
    detail: str


def system(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("auth.view_user"):
        raise PermissionDenied
    context = {
        **admin.site.each_context(request),
        "title": "System",
        "parts": [_try(name, look) for name, look in _PARTS.items()],
        "versions": _versions(),
        "values": _settings(),
        "users": User.objects.filter(is_active=True).count(),
        "roles": Group.objects.count(),
        "audit": _audit(request),
    }
    return TemplateResponse(request, "rudderhub/system.html", context)


def _audit(request: HttpRequest) -> list[LogEntry]:
    if not request.user.has_perm("admin.view_logentry"):
        return []
    return list(LogEntry.objects.select_related("user", "content_type")[:NEWEST])


def _versions() -> list[tuple[str, str]]:
    own = [("rudderhub", version_number()), ("Python", platform.python_version())]
    return own + [(name, version(name)) for name in PACKAGES]


def _settings() -> list[tuple[str, str]]:
    values = Env()
    return [(PREFIX + name, _masked(name, values.text(name))) for name in sorted(DEFAULTS)]


def _masked(name: str, value: str) -> str:
    return HIDDEN if value and name.endswith(SECRET_ENDINGS) else value


def _try(name: str, look: Callable[[], str]) -> Part:
    try:
        return Part(name, good=True, detail=look())
    except (OperationalError, RedisError, OSError, django.db.Error) as error:
        return Part(name, good=False, detail=" ".join(str(error).split()))


def _postgres() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT version(), pg_size_pretty(pg_database_size(current_database())),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
        )
        server, size, sessions = cursor.fetchone()
    return f"{server.partition(' on ')[0]}, {size}, {counted(sessions, 'connection')}"


def _cache() -> str:
    cache.set("system:look", 1, timeout=5)
    if not cache.get("system:look"):
        raise OSError("forgets at once: no requests are limited")
    url = str(settings.CACHES["default"]["LOCATION"])
    with Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as server:
        found = server.info("server")
    name = "Valkey" if "valkey_version" in found else "Redis"
    return f"{name} {found.get('valkey_version') or found['redis_version']}"


def _broker() -> str:
    """Celery keeps its address apart from the cache's."""
    with app.connection_for_read() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWER_SECONDS)
        return f"answers ({broker.transport.driver_name})"


def _workers() -> str:
    found = app.control.ping(timeout=0.15)
    if not found:
        raise OperationalError("no worker answers: nothing is loaded until one runs")
    return "1 worker answers" if len(found) == 1 else f"{len(found)} workers answer"


def _beat() -> str:
    at, now = heartbeat.last(), timezone.now()
    if at is None or now - at > SILENT:
        heard = f"for {length(at, now)}" if at else "yet"
        raise OperationalError(f"nothing was heard {heard}: scheduled work waits for it")
    return f"heard {length(at, now)} ago; {uncounted():,} events of the log are not counted yet"


def _disk() -> str:
    usage = shutil.disk_usage(settings.DATA_DIR or settings.VAR_DIR)
    free, total = usage.free // 2**20, usage.total // 2**20
    if free < settings.MIN_FREE_MB:
        raise OSError(f"{free:,} MB free of {total:,}: events are refused")
    return f"{free:,} MB free of {total:,}"


_PARTS: dict[str, Callable[[], str]] = {
    "Postgres": _postgres,
    "Cache": _cache,
    "Broker": _broker,
    "Workers": _workers,
    "Beat": _beat,
    "Disk": _disk,
}
