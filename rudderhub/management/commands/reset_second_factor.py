"""`manage.py reset_second_factor`: removes the second factor of a user."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from rudderhub.accounts.second_factor.codes import authenticator_app, remove_second_factor


class Command(BaseCommand):
    help = "Remove a user's second factor if the phone and the recovery codes are lost."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['username']!r}")
        if authenticator_app(user) is None:
            raise CommandError(f"{user} has no second factor")
        remove_second_factor(user, "Reset the second factor from the command line.")
        self.stdout.write(
            f"The second factor of {user} is reset. They can now log in with only the password."
        )
