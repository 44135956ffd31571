"""A model field for secrets, and the keys that encrypt them."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


def fernet() -> MultiFernet:
    """Encrypts with the first of ENCRYPTION_KEYS and decrypts with any of them."""
    if not settings.ENCRYPTION_KEYS:
        raise ImproperlyConfigured("RUDDERHUB_ENCRYPTION_KEYS is not set; `make run` generates one")
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])


class EncryptedJSONField(models.BinaryField):  # type: ignore[type-arg]
    """A JSON object that is encrypted in the database; an empty one is stored as no bytes.

    Reading raises ImproperlyConfigured if no key decrypts it.
    """

    def from_db_value(
        self, value: bytes | None, expression: object, connection: object
    ) -> dict[str, Any]:
        if not value:
            return {}
        try:
            return dict(json.loads(fernet().decrypt(bytes(value))))
        except InvalidToken as error:
            raise ImproperlyConfigured(
                "RUDDERHUB_ENCRYPTION_KEYS cannot decrypt a stored secret"
            ) from error

    def get_prep_value(self, value: dict[str, Any] | None) -> bytes:
        return fernet().encrypt(json.dumps(value).encode()) if value else b""

    def value_to_string(self, obj: models.Model) -> str:
        """Keeps secrets out of dumpdata."""
        return ""
