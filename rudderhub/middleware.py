"""The gateway's middleware, over all routes of the project."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from events.gateway.middleware import GatewayMiddleware
from rudderhub.urls import find_route


def gateway_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> GatewayMiddleware:
    return GatewayMiddleware(get_response, find_route)
