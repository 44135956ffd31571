"""`manage.py doctor`: checks each part of the instance."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable
from typing import Any

import redis
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from destinations.interface import DestinationError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection_check import check_connection
from rudderhub.admin.settings.system import broker_state
from rudderhub.celery import app
from rudderhub.supervisor.main import LEAST_FREE_BYTES

OLDEST_POSTGRES = 150_000
ANSWER_SECONDS = 3
SECRET_KEY_LENGTH = 50


class DoctorError(Exception):
    """A part does not work; the message names the cause and the remedy."""


class Command(BaseCommand):
    help = "Check each part of the instance, one per line. Exits with 1 if a check fails."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        parts: list[tuple[str, Callable[[], str]]] = [
            ("settings", _settings),
            ("disk", _disk),
            ("database", _database),
            ("migrations", _migrations),
            ("cache", _cache),
            ("broker", _broker),
            ("worker", _worker),
        ]
        results = [self._report(name, check_part) for name, check_part in parts]
        if results[2] and results[3]:
            for destination in Destination.objects.filter(enabled=True).defer("secrets"):
                check_part = functools.partial(_destination, destination)
                results.append(self._report(f"destination {destination}", check_part))
        if not all(results):
            sys.exit(1)

    def _report(self, name: str, check_part: Callable[[], str]) -> bool:
        """Print the result of a check; returns whether the part works."""
        try:
            self.stdout.write(f"ok    {name}: {check_part()}")
        except (DoctorError, DestinationError, DatabaseError, redis.RedisError, OSError) as error:
            self.stdout.write(f"FAIL  {name}: {' '.join(str(error).split())}")
            return False
        return True


def _settings() -> str:
    if len(settings.SECRET_KEY) < SECRET_KEY_LENGTH or settings.SECRET_KEY.startswith("not-set"):
        raise DoctorError(
            f"RUDDERHUB_SECRET_KEY is not set or shorter than {SECRET_KEY_LENGTH} characters"
        )
    if not settings.ENCRYPTION_KEYS:
        raise DoctorError("RUDDERHUB_ENCRYPTION_KEYS is not set")
    try:
        for key in settings.ENCRYPTION_KEYS:
            Fernet(key)
    except ValueError as error:
        raise DoctorError("RUDDERHUB_ENCRYPTION_KEYS contains an invalid Fernet key") from error
    return "the secrets are set" + (", but RUDDERHUB_DEBUG is on" if settings.DEBUG else "")


def _disk() -> str:
    free = shutil.disk_usage(settings.VAR_DIR).free
    free_text = f"{free // 1_000_000} MB are left for {settings.VAR_DIR}"
    if free < LEAST_FREE_BYTES:
        raise DoctorError(free_text)
    return free_text


def _database() -> str:
    if not settings.DATABASES["default"]["NAME"]:
        raise DoctorError(
            "RUDDERHUB_DATABASE_URL is not set, and `make run` has set up no Postgres"
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
            " current_setting('server_encoding')"
        )
        version, number, encoding = cursor.fetchone()
    if number < OLDEST_POSTGRES:
        raise DoctorError(f"Postgres is {version}, expected 15 or newer")
    if encoding != "UTF8":
        raise DoctorError(f"the database's encoding is {encoding}, expected UTF8")
    return f"Postgres {version}, {encoding}"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise DoctorError(f"{len(missing)} are not applied; run `manage.py migrate`")
    return "all are applied"


def _cache() -> str:
    url = str(settings.CACHES["default"]["LOCATION"])
    if not url:
        raise DoctorError("RUDDERHUB_CACHE_URL is not set, and `make run` has set up no Valkey")
    client = redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS)
    try:
        version = client.info("server")["redis_version"]
        policy = client.info("memory")["maxmemory_policy"]
    finally:
        client.close()
    if policy != "noeviction":
        raise DoctorError(f"maxmemory-policy is {policy}, but the broker needs noeviction")
    return f"answers, speaks Redis {version}"


def _broker() -> str:
    try:
        return broker_state(timeout_seconds=ANSWER_SECONDS)
    except OperationalError as error:
        raise DoctorError(f"does not answer: {error}") from error


def _worker() -> str:
    try:
        answers = app.control.inspect(timeout=ANSWER_SECONDS).ping()
    except OperationalError as error:
        raise DoctorError("not reachable because the broker does not answer") from error
    if not answers:
        raise DoctorError(f"none answers within {ANSWER_SECONDS} seconds")
    return f"{len(answers)} alive: {', '.join(sorted(answers))}"


def _destination(destination: Destination) -> str:
    if destination.type != "POSTGRES":
        return f"is of type {destination.type}, which has no check"
    try:
        secrets = destination.secrets
    except (ImproperlyConfigured, ValueError) as error:
        raise DoctorError(f"its password cannot be read: {error}") from error
    steps = check_connection(PostgresConfig.from_config(destination.config, secrets))
    failed = [step for step in steps if not step.ok]
    if failed:
        raise DoctorError(f"{failed[0].name}: {failed[0].detail}")
    return "can be loaded"
