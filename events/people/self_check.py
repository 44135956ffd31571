"""The nightly comparison of stored identities with those that their links give."""

from __future__ import annotations

import logging

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, IdentityCheck
from destinations.postgres.operations.rebuild import graph_differences
from events.people import store

logger = logging.getLogger(__name__)

KEPT_CHECKS = 30


def check_identities(destination: Destination) -> IdentityCheck:
    """Check one destination and keep the result; the newest tells the overview."""
    with store.connect(destination) as opened:
        differences = [str(each) for each in graph_differences(opened.conn, opened.schema)]
    made = IdentityCheck.objects.create(destination=destination, differences=differences)
    if differences:
        logger.error("identities differ destination=%s count=%d", destination.pk, len(differences))
    old = IdentityCheck.objects.filter(destination=destination).values_list("pk")[KEPT_CHECKS:]
    IdentityCheck.objects.filter(pk__in=[pk for (pk,) in old]).delete()
    return made


def check_all() -> None:
    for destination in Destination.objects.filter(
        enabled=True, connections__enabled=True
    ).distinct():
        if destination.config.get("resolve_identities", True) is not True:
            continue
        try:
            check_identities(destination)
        except (DestinationError, DestinationUnavailableError) as error:
            logger.warning("self-check failed destination=%s: %s", destination.pk, error)
