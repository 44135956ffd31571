"""Lines of the audit log about looks at personal data."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db.models import Model
from django.http import HttpRequest
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

LOOKED = "Viewed personal data."
LOOKED_AT_LIST = "Viewed a list with personal data."
LIST_SECONDS = 600
"""A list that refreshes itself is one look for so long."""


def is_refresh(request: HttpRequest) -> bool:
    """Whether a page asks for itself again, to show progress: no look of its own."""
    return "X-Refresh" in request.headers


def note_list(user: Any, model: type[Model]) -> None:
    if _is_due(f"look:{user.pk}:{model._meta.label_lower}"):  # noqa: SLF001
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(model),
            object_repr=str(model._meta.verbose_name_plural),  # noqa: SLF001
            action_flag=CHANGE,
            change_message=LOOKED_AT_LIST,
        )


def _is_due(key: str) -> bool:
    """Always while the cache is away."""
    try:
        return cache.add(key, 1, timeout=LIST_SECONDS)
    except RedisError as error:
        logger.warning("looks are not remembered: %s", type(error).__name__)
        return True
