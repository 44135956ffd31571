"""Exact paths with their methods: the gateway finds a route by one look into a dict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse


@dataclass(frozen=True)
class Route:
    view: Callable[..., HttpResponse]
    methods: frozenset[str]
    arguments: tuple[str, ...] = ()

    @property
    def allow(self) -> str:
        return ", ".join(sorted(self.methods))


def get(view: Callable[..., Any], *arguments: str) -> Route:
    """HEAD works where GET does."""
    return Route(view, frozenset({"GET", "HEAD"}), arguments)


def post(view: Callable[..., Any]) -> Route:
    return Route(view, frozenset({"POST"}))


def get_and_post(view: Callable[..., Any]) -> Route:
    return Route(view, frozenset({"GET", "HEAD", "POST"}))
