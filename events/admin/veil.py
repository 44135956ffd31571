"""Identifiers as pages name them; values are hidden from who may not see personal data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from destinations.postgres import reading
from destinations.warehouse.identity import ANONYMOUS_ID, USER_ID, Identifier, node_key
from events.masking import HIDDEN

KEY_DIGITS = 4


class Shown(NamedTuple):
    """An identifier as a page names it; the key stands for it in forms."""

    type: str
    value: str
    key: UUID

    @property
    def rank(self) -> tuple[bool, bool, str]:
        """People first, then devices."""
        return self.type != USER_ID, self.type != ANONYMOUS_ID, self.type


@dataclass(frozen=True)
class Veil:
    """Hides values from those who may not see personal data."""

    sees: bool
    salt: bytes

    def text(self, value: Any) -> Any:
        return value if self.sees or value in (None, "") else HIDDEN

    def identifier(self, kind: str, value: str, key: UUID | None = None) -> Shown:
        """Hidden ones are told apart by the beginning of their key, a salted hash."""
        key = key or node_key(self.salt, Identifier(kind, value))
        hidden = f"{HIDDEN} {key.hex[:KEY_DIGITS]}"
        return Shown(kind, value if self.sees else hidden, key)

    def profile(self, found: reading.ProfileRecord) -> reading.ProfileRecord:
        if self.sees:
            return found
        return replace(
            found,
            user_id=self.text(found.user_id),
            email=self.text(found.email),
            name=self.text(found.name),
            traits=dict.fromkeys(found.traits, HIDDEN),
            identifiers=self.identifiers(found.identifiers),
        )

    def identifiers(self, found: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        return {kind: [self.text(value) for value in values] for kind, values in found.items()}
