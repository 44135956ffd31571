"""The adapters by which django-allauth uses our addresses and our encryption."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import InvalidToken
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from destinations.fields import fernet
from sources.client_address import verified_address


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return verified_address(request.META)

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        """Only the strongest method: the code of a second factor, without one the password."""
        return super().get_reauthentication_methods(user)[-1:]


class MFAAdapter(DefaultMFAAdapter):
    def get_totp_label(self, user: User) -> str:
        return f"{user.get_username()}@{context.request.get_host()}"

    def encrypt(self, text: str) -> str:
        return fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return fernet().decrypt(encrypted_text).decode()
        except InvalidToken as error:
            raise ImproperlyConfigured(
                "RUDDERHUB_ENCRYPTION_KEYS cannot decrypt a second factor"
            ) from error
