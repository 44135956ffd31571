"""`manage.py bootstrap`: the first source and warehouse of a new instance."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.management.base import BaseCommand
from django.db import transaction

from destinations.models import Connection, Destination
from rudderhub.env import Env
from sources.models import Source, SourceType, WriteKey


class Command(BaseCommand):
    help = "Create the first source, its write key and a warehouse, if there is no source."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        env = Env()
        with transaction.atomic():
            if Source.objects.exists():
                _update_addresses(env.text("WAREHOUSE_URL"))
                return
            _create_records(env.text("WAREHOUSE_URL") or env.text("DATABASE_URL"))
        self.stdout.write("created the source Website, a write key and the destination Warehouse")


def _create_records(warehouse_url: str) -> None:
    source = Source.objects.create(name="Website", type=SourceType.JAVASCRIPT)
    WriteKey.objects.create(source=source)
    config, password = _config(warehouse_url)
    destination = Destination.objects.create(
        name="Warehouse", type="POSTGRES", config=config, secrets={"password": password}
    )
    Connection.objects.create(source=source, destination=destination)


def _update_addresses(warehouse_url: str) -> None:
    """Follow the embedded warehouse to its current port; its password identifies it."""
    if not warehouse_url:
        return
    config, password = _config(warehouse_url)
    address = {key: config[key] for key in ("host", "port", "database", "user")}
    for destination in Destination.objects.filter(type="POSTGRES"):
        is_embedded = destination.secrets.get("password") == password
        if is_embedded and not address.items() <= destination.config.items():
            destination.config |= address
            destination.save(update_fields=["config", "updated_at"])


def _config(url: str) -> tuple[dict[str, Any], str]:
    """The destination's config and password of a Postgres URL."""
    parts = urlsplit(url)
    config = {
        "host": parts.hostname,
        "port": parts.port or 5432,
        "database": unquote(parts.path.lstrip("/")),
        "user": unquote(parts.username or ""),
        "sslmode": dict(parse_qsl(parts.query)).get("sslmode", "prefer"),
        "identity_schema": "rudder_identity",
    }
    return config, unquote(parts.password or "")
