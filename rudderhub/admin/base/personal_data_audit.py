"""The audit log of reads of personal data."""

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

RECORD_READ = "Viewed personal data."
LIST_READ = "Viewed a list with personal data."
LIST_SECONDS = 600
"""How long repeated reads of a list, such as its refreshes, count as one."""


def is_refresh(request: HttpRequest) -> bool:
    """Whether a page refreshes itself to show progress, which is not audited."""
    return "X-Refresh" in request.headers


def audit_list(user: Any, model: type[Model]) -> None:
    if _is_due(f"personal-data-read:{user.pk}:{model._meta.label_lower}"):  # noqa: SLF001
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(model),
            object_repr=str(model._meta.verbose_name_plural),  # noqa: SLF001
            action_flag=CHANGE,
            change_message=LIST_READ,
        )


def _is_due(key: str) -> bool:
    """Whether to audit the read; always true while the cache does not answer."""
    try:
        return cache.add(key, 1, timeout=LIST_SECONDS)
    except RedisError as error:
        logger.warning("cannot remember reads of personal data: %s", type(error).__name__)
        return True
