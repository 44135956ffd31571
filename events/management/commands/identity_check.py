"""manage.py identity_check: compares the stored identities with their links."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from destinations.management.destination_command import DestinationCommand
from destinations.models import Destination
from events.people.self_check import check_identities


class Command(DestinationCommand):
    help = (
        "Recompute a destination's identities from their links and compare. Exits with 1 if "
        "anything differs."
    )

    def run(self, destination: Destination, options: dict[str, Any]) -> None:
        differences = check_identities(destination).differences
        for difference in differences:
            self.stdout.write(difference)
        if differences:
            raise CommandError(
                f"at least {len(differences)} differences; run identity_rebuild to correct them"
            )
        self.stdout.write("The stored identities match their links.")
