"""The page Settings: the state of each part of the instance, versions, settings, audit log."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from urllib.parse import urlsplit

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

from events.gateway import disk_space
from events.log.counts import uncounted_ids
from events.protocol.masking import HIDDEN
from events.workers import heartbeat
from rudderhub.admin.base.display import count_text, duration_text
from rudderhub.celery import app
from rudderhub.env import DEFAULTS, PREFIX, Env
from rudderhub.public_views import version_number

SECRET_ENDINGS = ("_KEY", "_KEYS", "_TOKEN")
"""The endings of settings that are shown masked."""
SILENCE = timedelta(minutes=2)
"""The time without a heartbeat after which beat is down; it sends one every ten seconds."""
ANSWER_SECONDS = 2
PING_SECONDS = 0.75
SCARCE_TIMES = 5
"""Disk space is scarce below this multiple of the space that must stay free."""
GOOD, SCARCE, UNCERTAIN, BAD = "good", "scarce", "uncertain", "bad"
WORDS = {
    GOOD: "works",
    SCARCE: "is nearly full",
    UNCERTAIN: "unknown",
    BAD: "does not work",
}
REMEDIES = {
    "Postgres": "Start it, or correct RUDDERHUB_DATABASE_URL.",
    "Cache": "Rate limits are off until then. Start it, or correct RUDDERHUB_CACHE_URL.",
    "Broker": (
        "Events are kept in the log until then. Start it, or correct RUDDERHUB_BROKER_URL "
        "(RUDDERHUB_CACHE_URL when that is empty); loads then continue automatically."
    ),
    "Workers": "Events are kept in the log until then. Start the worker from the Procfile.",
    "Beat": "New events are still loaded. Start exactly one beat from the Procfile.",
    "Disk": "Free up space, or lower RUDDERHUB_RETENTION_DAYS or RUDDERHUB_RETENTION_GB.",
}
PACKAGES = ("Django", "django-unfold", "djangorestframework", "celery", "psycopg", "granian")
NEWEST = 10


@dataclass(frozen=True)
class PartStatus:
    """The state of a part of the instance, with the remedy if it does not work."""

    name: str
    kind: str
    detail: str
    remedy: str = ""

    @property
    def word(self) -> str:
        return WORDS[self.kind]


class _UncertainError(Exception):
    """Nothing is known of a part, because another part does not work."""


class _ScarceError(Exception):
    """A part works, but its space is nearly used up."""


def system(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("auth.view_user"):
        raise PermissionDenied
    context = {
        **admin.site.each_context(request),
        "title": "Settings",
        "parts": _part_statuses(),
        "versions": _versions(),
        "values": _settings(),
        "users": User.objects.filter(is_active=True).count(),
        "roles": Group.objects.count(),
        "audit": _newest_log_entries(request),
    }
    return TemplateResponse(request, "rudderhub/settings/system.html", context)


def _newest_log_entries(request: HttpRequest) -> list[LogEntry]:
    if not request.user.has_perm("admin.view_logentry"):
        return []
    return list(LogEntry.objects.select_related("user", "content_type")[:NEWEST])


def _versions() -> list[tuple[str, str]]:
    own = [("rudderhub", version_number()), ("Python", platform.python_version())]
    return own + [(name, version(name)) for name in PACKAGES]


def _settings() -> list[tuple[str, str]]:
    values = Env()
    return [(PREFIX + name, _masked_setting(name, values.text(name))) for name in sorted(DEFAULTS)]


def _masked_setting(name: str, value: str) -> str:
    if value and name.endswith("_URL"):
        return _url_without_secrets(value)
    return HIDDEN if value and name.endswith(SECRET_ENDINGS) else value


def _url_without_secrets(url: str) -> str:
    """The URL without user, password and options; masked if it cannot be parsed safely."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if not parts.hostname or parts.fragment or "@" in parts.path:
        return HIDDEN
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _part_statuses() -> list[PartStatus]:
    parts: dict[str, PartStatus] = {}
    for name, check in _CHECKS.items():
        parts[name] = _part_status(name, check, parts)
    return list(parts.values())


def _part_status(name: str, check: Check, parts: Parts) -> PartStatus:
    try:
        return PartStatus(name, GOOD, check(parts))
    except _UncertainError as error:
        return PartStatus(name, UNCERTAIN, str(error))
    except _ScarceError as error:
        return PartStatus(name, SCARCE, str(error), REMEDIES[name])
    except (OperationalError, RedisError, OSError, django.db.Error) as error:
        return PartStatus(name, BAD, " ".join(str(error).split()), REMEDIES[name])


def _postgres(_parts: Parts) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT version(), pg_size_pretty(pg_database_size(current_database())),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
        )
        server, size, sessions = cursor.fetchone()
    return f"{server.partition(' on ')[0]}, {size}, {count_text(sessions, 'connection')}"


def _cache(_parts: Parts) -> str:
    cache.set("system:check", 1, timeout=5)
    if not cache.get("system:check"):
        raise OSError("does not keep values; rate limits are off")
    url = str(settings.CACHES["default"]["LOCATION"])
    with Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as server:
        info = server.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version') or info['redis_version']}"


def broker_state(_parts: Parts | None = None, *, timeout_seconds: int = ANSWER_SECONDS) -> str:
    """A check of its own, because the broker's address may differ from the cache's."""
    with app.connection_for_read() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=timeout_seconds)
        return f"answers ({broker.transport.driver_name})"


def _workers(parts: Parts) -> str:
    if parts["Broker"].kind == BAD:
        raise _UncertainError("the broker, which reaches them, does not answer")
    return f"{answering_worker()} answers"


def answering_worker(*, ping_seconds: float = PING_SECONDS) -> str:
    """The name of the first worker that answers a ping; OperationalError if none does in time."""
    first = app.control.ping(timeout=ping_seconds, limit=1)  # the next ping drops later answers
    if not first:
        raise OperationalError("no worker answers; nothing is loaded until one runs")
    return next(iter(first[0]))


def _beat(parts: Parts) -> str:
    if parts["Cache"].kind == BAD:
        raise _UncertainError("the cache, which stores the heartbeat, does not answer")
    at, now = heartbeat.last_beat(), timezone.now()
    if at is not None and now - at <= SILENCE:
        waiting = uncounted_ids()
        counters = f"{waiting:,} events not counted yet" if waiting else "counters up to date"
        return f"last heartbeat {duration_text(at, now)} ago; {counters}"
    silence = f"no heartbeat {f'for {duration_text(at, now)}' if at else 'yet'}"
    if parts["Workers"].kind != GOOD:
        raise _UncertainError(f"{silence}, but workers record it, and none answers")
    raise OperationalError(f"{silence}; scheduled work waits")


def _disk(_parts: Parts) -> str:
    free, total = disk_space.space_mb(settings.VAR_DIR)
    least = settings.MIN_FREE_MB
    if settings.DATA_DIR is None:
        return f"{free:,} MB free of {total:,}; Postgres has its own disk"
    if shortage := disk_space.shortage():
        raise OSError(f"{shortage}; events are refused with 503")
    space = f"{free:,} MB free of {total:,}; events are refused below {least:,} MB"
    if free < SCARCE_TIMES * least:
        raise _ScarceError(space)
    return space


Parts = Mapping[str, PartStatus]
Check = Callable[[Parts], str]
_CHECKS: dict[str, Check] = {
    "Postgres": _postgres,
    "Cache": _cache,
    "Broker": broker_state,
    "Workers": _workers,
    "Beat": _beat,
    "Disk": _disk,
}
