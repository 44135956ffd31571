"""manage.py replay: load a connection again from a time on, while its loads continue."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime

from destinations.interface import DestinationError
from destinations.models import Connection
from events.loads import replays
from events.models import Replay, ReplayState

IDLE_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Load a connection again from a time or from the oldest event kept. If this command is "
        "stopped, a worker continues the replay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("connection", type=int, help="id of the connection")
        parser.add_argument(
            "--from",
            dest="since",
            required=True,
            metavar="TIME|oldest",
            help="such as 2026-03-01 or 2026-03-01T12:30Z; UTC unless a zone is given",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count the events to load")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = _connection(options["connection"])
        since = None if options["since"] == "oldest" else _parsed_time(options["since"])
        try:
            if options["dry_run"]:
                span = replays.replay_range(connection, since)
                events = _events_text(span.events, span.max_events)
                self.stdout.write(f"{connection}: {events} to load again")
                return
            replay = replays.begin_replay(connection, since)
        except DestinationError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{replay}: {_events_text(replay.expected, replay.upto_id - replay.after_id)}"
        )
        self._follow_replay(replay)

    def _follow_replay(self, replay: Replay) -> None:
        """Run the replay and print its progress; wait while a worker runs a part of it."""
        last_line = ""
        while replay.state == ReplayState.RUNNING:
            if not replays.run_slice(replay):
                time.sleep(IDLE_SECONDS)
            replay.refresh_from_db()
            line = f"{replay.percent} % · {replay.events} events loaded" + _waiting_text(replay)
            if line != last_line:
                self.stdout.write(line)
            last_line = line
        self.stdout.write(
            f"{replay.get_state_display().lower()}: {replay.events} loaded, "
            f"{replay.skipped} skipped, {replay.dead_letters} dead letters, "
            f"{replay.discards} discards"
        )


def _waiting_text(replay: Replay) -> str:
    if replay.error:
        return f" · waiting: {replay.error}"
    if not replay.connection.enabled or not replay.connection.destination.enabled:
        return " · waiting: the connection is paused or its destination is disabled"
    return ""


def _connection(pk: int) -> Connection:
    connections = Connection.objects.select_related("source", "destination")
    if connection := connections.filter(pk=pk).first():
        return connection
    choices = "; ".join(f"{choice.pk} is {choice}" for choice in connections.order_by("pk")[:20])
    raise CommandError(f"there is no connection {pk}. {choices or 'There are no connections.'}")


def _parsed_time(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        day = parse_date(text)
    except ValueError as error:
        raise CommandError(f"--from {text}: {error}") from error
    if moment is None and day is not None:
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if moment is None:
        raise CommandError(f"--from is {text!r}, expected 2026-03-01, 2026-03-01T12:30Z or oldest")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _events_text(events: int | None, max_events: int) -> str:
    """The number of events; of a log that is too large to count, the bound given by its ids."""
    return f"at most {max_events} events" if events is None else f"{events} events"
