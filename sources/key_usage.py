"""Records when each key was last used, so that an operator can see unused keys."""

from __future__ import annotations

import logging
import time

from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

RECORD_SECONDS = 60.0

_recorded_at: dict[int, float] = {}

# A locked row is skipped, so that no event waits for a transaction that changes it.
_SET_LAST_USED = """
UPDATE sources_writekey
SET last_used_at = now()
WHERE id = (SELECT id FROM sources_writekey WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)
"""


def record_key_use(key_pk: int) -> None:
    """Record that the key is in use, at most once per minute and process."""
    now = time.monotonic()
    if now - _recorded_at.get(key_pk, -RECORD_SECONDS) < RECORD_SECONDS:
        return
    _recorded_at[key_pk] = now
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SET_LAST_USED, [key_pk])
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the use of a key was not recorded: %s", type(error).__name__)
