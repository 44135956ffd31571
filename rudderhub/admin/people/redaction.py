"""Masks identifiers and profiles for users without the personal-data permission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from destinations.postgres.reads import profiles
from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID, Identifier, node_key
from events.protocol.masking import HIDDEN

KEY_DIGITS = 4


class ShownIdentifier(NamedTuple):
    """An identifier as a page shows it; forms name it by its key."""

    type: str
    value: str
    key: UUID

    @property
    def rank(self) -> tuple[bool, bool, str]:
        """A sort key: users first, then devices."""
        return self.type != USER_ID, self.type != ANONYMOUS_ID, self.type


@dataclass(frozen=True)
class Redaction:
    """Masks values unless the user may see personal data."""

    sees: bool
    salt: bytes

    def text(self, value: Any) -> Any:
        return value if self.sees or value in (None, "") else HIDDEN

    def identifier(self, kind: str, value: str, key: UUID | None = None) -> ShownIdentifier:
        """A masked identifier shows the beginning of its key, a salted hash, to tell it apart."""
        key = key or node_key(self.salt, Identifier(kind, value))
        hidden = f"{HIDDEN} {key.hex[:KEY_DIGITS]}"
        return ShownIdentifier(kind, value if self.sees else hidden, key)

    def profile(self, profile: profiles.ProfileRecord) -> profiles.ProfileRecord:
        if self.sees:
            return profile
        return replace(
            profile,
            user_id=self.text(profile.user_id),
            email=self.text(profile.email),
            name=self.text(profile.name),
            traits=dict.fromkeys(profile.traits, HIDDEN),
            identifiers=self.identifiers(profile.identifiers),
        )

    def identifiers(self, values_of_type: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        return {
            kind: [self.text(value) for value in values] for kind, values in values_of_type.items()
        }
