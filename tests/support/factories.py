"""Things to test with: plain functions; name only what the test is about."""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from destinations.models import Connection, Destination
from events.log import partitions
from events.log.database import log_connection
from events.models import Event
from sources.models import Source, WriteKey

_numbers = itertools.count(1)


def make_source(**fields: Any) -> Source:
    """An enabled source without a key."""
    return Source.objects.create(**{"name": f"Shop {next(_numbers)}", **fields})


def make_write_key(source: Source | None = None, **fields: Any) -> WriteKey:
    return WriteKey.objects.create(source=source or make_source(), **fields)


def make_destination(
    config: dict[str, Any] | None = None, secrets: dict[str, str] | None = None, **fields: Any
) -> Destination:
    """A Postgres warehouse; its address is nobody's unless the test gives one."""
    address = {"host": "127.0.0.1", "port": 1, "database": "warehouse", "user": "rudderhub"}
    return Destination.objects.create(
        **{"name": f"Warehouse {next(_numbers)}", **fields},
        config=address | (config or {}),
        secrets={"password": "correct horse"} if secrets is None else secrets,
    )


def make_connection(
    source: Source | None = None, destination: Destination | None = None, **fields: Any
) -> Connection:
    return Connection.objects.create(
        source=source or make_source(), destination=destination or make_destination(), **fields
    )


def make_admin(**fields: Any) -> User:
    return User.objects.create_superuser(**{"username": f"ada{next(_numbers)}", **fields})


def make_staff(*permissions: str, role: str | None = None, **fields: Any) -> User:
    """A member of the staff who has the permissions of these code names, and those of the role."""
    user = User.objects.create_user(
        **{"username": f"ann{next(_numbers)}", "is_staff": True, **fields}
    )
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


def make_event(source: Source | None = None, **fields: Any) -> Event:
    """A row of the log, as the gateway would have stored it."""
    return make_events(1, source, **fields)[0]


def make_events(count: int, source: Source | None = None, **fields: Any) -> list[Event]:
    """Rows of the log from one source, oldest first."""
    values = {"source": source or make_source(), "received_at": timezone.now(), "type": "track"}
    values |= {"payload": '{"type": "track"}', **fields}
    with log_connection() as conn:
        partitions.ensure_partitions(conn, values["received_at"].date())
    return Event.objects.bulk_create(
        Event(**{"message_id": f"message-{next(_numbers)}", **values}) for _ in range(count)
    )
