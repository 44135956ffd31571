"""`manage.py info`: the addresses and secrets of the instance."""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from destinations.models import Connection
from destinations.postgres.config import PostgresConfig
from destinations.registry import destination_type
from rudderhub.accounts.first_admin import setup_token
from sources.models import Source, WriteKey


class Command(BaseCommand):
    help = "Show how to reach this instance, its first source and its warehouse, with secrets."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON object")
        parser.add_argument("--shell", action="store_true", help="as variables for a shell's eval")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            facts = _facts()
        except DatabaseError as error:
            raise CommandError(f"the database does not answer; is it running? {error}") from error
        if options["shell"]:
            for name, value in facts.items():
                self.stdout.write(f"{name}={shlex.quote(value or '')}")
            return
        if options["json"]:
            self.stdout.write(json.dumps(facts))
            return
        width = max(map(len, facts))
        for name, value in facts.items():
            self.stdout.write(f"{name:<{width}}  {'-' if value is None else value}")


def _facts() -> dict[str, str | None]:
    source = Source.objects.order_by("id").first()
    if source is None:
        raise CommandError("there is no source; `make run` or `manage.py bootstrap` creates one")
    key = WriteKey.objects.active(timezone.now()).filter(source=source).first()
    token = setup_token()
    return {
        "base_url": settings.BASE_URL,
        "admin_url": f"{settings.BASE_URL}/admin/",
        "setup_url": f"{settings.BASE_URL}/setup/{token}/" if token else None,
        "source_id": source.public_id,
        "write_key": key.key if key else None,
        **_warehouse(source),
        "data_dir": str(settings.DATA_DIR / "postgres") if settings.DATA_DIR else None,
    }


def _warehouse(source: Source) -> dict[str, str | None]:
    """The warehouse of the source's first connection; before a load, the namespace to come."""
    connection = (
        Connection.objects.filter(source=source, destination__type="POSTGRES")
        .select_related("destination")
        .order_by("id")
        .first()
    )
    if connection is None:
        return {"warehouse_dsn": None, "namespace": None, "identity_schema": None}
    destination = connection.destination
    config = PostgresConfig.from_config(destination.config, destination.secrets)
    return {
        "warehouse_dsn": _url(config),
        "namespace": connection.namespace
        or destination_type(destination.type).namespace(destination.config, source.name),
        "identity_schema": config.identity_schema,
    }


def _url(config: PostgresConfig) -> str:
    login = f"{quote(config.user, safe='')}:{quote(config.password, safe='')}"
    host = f"[{config.host}]" if ":" in config.host else config.host
    database = quote(config.database, safe="")
    return f"postgresql://{login}@{host}:{config.port}/{database}?sslmode={config.sslmode}"
