"""`manage.py up`: starts the supervisor."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Set up and run everything: Postgres, Valkey, web, worker and beat. Ctrl-C stops it."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Replace this process by the supervisor, which runs for long and needs no Django."""
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "rudderhub.supervisor.main"])  # noqa: S606
