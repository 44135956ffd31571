"""`manage.py set_up`: the steps of `manage.py up` that need Django."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Run migrate, bootstrap and info --json in one process, as `up` does before the rest."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stderr)
        call_command("bootstrap", stdout=self.stderr)
        call_command("info", json=True, stdout=self.stdout)
