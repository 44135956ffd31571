"""When each key was last used, to the minute: whether an old key may go is seen by this."""

from __future__ import annotations

import logging
import time

from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

NOTED_SECONDS = 60.0

_noted_at: dict[int, float] = {}

# A row that somebody is just changing is passed over: an event never waits for it.
_NOTE = """
UPDATE sources_writekey
SET last_used_at = now()
WHERE id = (SELECT id FROM sources_writekey WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)
"""


def note(key_pk: int) -> None:
    """Write the use of a key down, at most once a minute and process."""
    now = time.monotonic()
    if now - _noted_at.get(key_pk, -NOTED_SECONDS) < NOTED_SECONDS:
        return
    _noted_at[key_pk] = now
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, [key_pk])
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the use of a key was not noted: %s", type(error).__name__)
