"""Options for rows, from a destination's config and an event's `integrations`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from destinations.warehouse.rows.naming import DEFAULT_CASING, Casing

DESTINATION_TYPE = "POSTGRES"
"""The name of this destination type in the registry and in an event's `integrations`."""

_PATH_TYPES = ("track.", "identify.", "page.", "screen.", "alias.", "group.", "extract.")
_LEGACY_SECTIONS = frozenset({"track_properties_", "track_userProperties_"})


@dataclass(frozen=True)
class Options:
    """Options for rows. Only a JSON true turns one on, as in RudderStack's newer transformer."""

    skip_tracks_table: bool = False
    skip_users_table: bool = False
    allow_users_context_traits: bool = False
    """An identify's context.traits also become plain columns."""
    store_full_event: bool = False
    json_paths: tuple[str, ...] = ()
    casing: Casing = DEFAULT_CASING

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Options:
        """The options in a destination's config, which has other keys as well."""
        paths = config.get("jsonPaths")
        return cls(
            skip_tracks_table=config.get("skipTracksTable") is True,
            skip_users_table=config.get("skipUsersTable") is True,
            allow_users_context_traits=config.get("allowUsersContextTraits") is True,
            store_full_event=config.get("storeFullEvent") is True,
            json_paths=_path_texts(paths.split(",")) if isinstance(paths, str) else (),
            casing=Casing(divide_numbers=config.get("underscoreDivideNumbers") is True),
        )

    def event_options(self, event: Mapping[str, Any]) -> Options:
        """These options, extended by the event's `integrations`."""
        integrations = event.get("integrations")
        if not isinstance(integrations, dict):
            return self
        ours = _inner_object(integrations.get(DESTINATION_TYPE), "options")
        shared = _inner_object(integrations.get("DATA_WAREHOUSE"), "options")
        if not ours and not shared:
            return self
        return replace(
            self,
            skip_tracks_table=self.skip_tracks_table or ours.get("skipTracksTable") is True,
            skip_users_table=self.skip_users_table or ours.get("skipUsersTable") is True,
            json_paths=(
                *self.json_paths,
                *_path_texts(ours.get("jsonPaths")),
                *_path_texts(shared.get("jsonPaths")),
            ),
            casing=self.casing._replace(
                blendo=ours.get("useBlendoCasing") is True,
                keep_words=ours.get("skipReservedKeywordsEscaping") is True,
            ),
        )


def is_switched_off(event: Mapping[str, Any]) -> bool:
    """Whether the event's `integrations` exclude this type of destination.

    {"POSTGRES": false} excludes it, and {"All": false} unless the destination is listed with true
    or options. Names match in any case, because SDKs spell "All" and "Postgres" differently.
    """
    integrations = event.get("integrations")
    if not isinstance(integrations, dict):
        return False
    named = {name.lower(): value for name, value in integrations.items()}
    ours = named.get(DESTINATION_TYPE.lower())
    if ours is True or isinstance(ours, dict):
        return False
    return ours is False or named.get("all") is False


@lru_cache(maxsize=256)
def section_json_paths(
    json_paths: tuple[str, ...], section: str
) -> frozenset[tuple[int, str]] | None:
    """The paths that stay JSON in a section such as "track_properties_"; None without any.

    Each is its level, 0 for the section's own keys, and its keys joined by `_`.
    """
    paths = set()
    for path in json_paths:
        joined, level = path.replace(".", "_"), path.count(".")
        if not path.lower().startswith(_PATH_TYPES):
            if section in _LEGACY_SECTIONS:
                paths.add((level, joined))
        elif joined.startswith(section):
            paths.add((level - section.count("_"), joined[len(section) :]))
    return frozenset(paths) or None


def _path_texts(paths: Any) -> tuple[str, ...]:
    if not isinstance(paths, list):
        return ()
    stripped = (path.strip() for path in paths if isinstance(path, str))
    return tuple(path for path in stripped if path)


def _inner_object(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
