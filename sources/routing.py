"""Routes of exact paths, which a dictionary holds and no pattern describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpResponse


@dataclass(frozen=True)
class Route:
    view: Callable[..., HttpResponse]
    methods: frozenset[str]
    arguments: tuple[str, ...] = ()

    @property
    def allow_header(self) -> str:
        return ", ".join(sorted(self.methods))


def unprefixed_path(path: str) -> str:
    """The path without RUDDERHUB_PATH_PREFIX, below which a proxy may serve the instance."""
    prefix = settings.PATH_PREFIX
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def get(view: Callable[..., Any], *arguments: str) -> Route:
    """A route that answers GET and HEAD."""
    return Route(view, frozenset({"GET", "HEAD"}), arguments)


def post(view: Callable[..., Any]) -> Route:
    return Route(view, frozenset({"POST"}))


def get_and_post(view: Callable[..., Any]) -> Route:
    return Route(view, frozenset({"GET", "HEAD", "POST"}))
