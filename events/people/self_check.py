"""The nightly check that the stored identities match their links."""

from __future__ import annotations

import logging

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, IdentityCheck
from destinations.postgres.operations.rebuild import graph_differences
from events.people import store

logger = logging.getLogger(__name__)

KEPT_CHECKS = 30


def check_identities(destination: Destination) -> IdentityCheck:
    """Check one destination and store the result; the overview shows the newest."""
    with store.connect(destination) as identities:
        differences = list(map(str, graph_differences(identities.conn, identities.schema)))
    result = IdentityCheck.objects.create(destination=destination, differences=differences)
    if differences:
        logger.error("identities differ destination=%s count=%d", destination.pk, len(differences))
    old = destination.identity_checks.values_list("pk", flat=True)[KEPT_CHECKS:]
    IdentityCheck.objects.filter(pk__in=list(old)).delete()
    return result


def check_all() -> None:
    """Check all destinations that are loaded and resolve identities."""
    for destination in Destination.in_use():
        if destination.config.get("resolve_identities", True) is not True:
            continue
        try:
            check_identities(destination)
        except (DestinationError, DestinationUnavailableError) as error:
            logger.warning("self-check failed destination=%s: %s", destination.pk, error)
