"""The profile API: reads one destination's profiles, for the holder of a token of it."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive
from rest_framework import authentication, exceptions, permissions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, ProfileToken
from destinations.postgres.identity import schema
from destinations.postgres.reads import profiles
from events.people import store
from events.people.store import IdentityStore

logger = logging.getLogger(__name__)

MAX_EVENTS = 200
DEFAULT_EVENTS = 50


def new_token(destination: Destination, name: str) -> tuple[ProfileToken, str]:
    """A stored token and its text, which is shown once and not kept."""
    text = secrets.token_urlsafe(32)
    return ProfileToken.objects.create(
        destination=destination, name=name, digest=_digest(text)
    ), text


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`; request.auth is the ProfileToken."""

    def authenticate(self, request: Request) -> tuple[Any, ProfileToken] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            return None
        found = ProfileToken.objects.select_related("destination").filter(
            digest=_digest(text.strip()), revoked_at=None
        )
        token = found.first()
        if token is None:
            raise exceptions.AuthenticationFailed("the token is unknown or revoked")
        return None, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasToken(permissions.BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, ProfileToken)


class JsonRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return orjson.dumps(data, default=str)


class OnlyJson(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class PeopleView(APIView):
    authentication_classes = [TokenAuthentication]
    permission_classes = [HasToken]
    renderer_classes = [JsonRenderer]
    content_negotiation_class = OnlyJson

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Nobody on the way keeps a person's data."""
        found = super().finalize_response(request, response, *args, **kwargs)
        found.headers["Cache-Control"] = "no-store"
        return found

    @contextmanager
    def opened(self) -> Iterator[IdentityStore]:
        token: Any = self.request.auth
        try:
            with store.connect_pooled(token.destination) as opened:
                yield opened
        except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
            logger.warning("profiles of destination=%s: %s", token.destination_id, error)
            unavailable = exceptions.APIException("the warehouse cannot answer now")
            unavailable.status_code = 503
            raise unavailable from error

    def one(self, opened: IdentityStore, rudder_id: UUID) -> profiles.ProfileRecord:
        found = profiles.find(opened.conn, opened.schema, str(rudder_id))
        if not found:
            raise exceptions.NotFound("no profile has or had this id")
        return found[0]


class FindView(PeopleView):
    """GET ?identifier=…&type=…: the profiles of an identifier, or of any id they ever had."""

    def get(self, request: Request) -> Response:
        identifier = request.query_params.get("identifier", "")
        if not identifier:
            raise exceptions.ValidationError("identifier is missing")
        with self.opened() as opened:
            id_type = request.query_params.get("type") or None
            found = profiles.find(opened.conn, opened.schema, identifier, id_type)
        return Response({"profiles": [_profile(each) for each in found]})


class ProfileView(PeopleView):
    """GET: a profile by its id, or by one that it had."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        with self.opened() as opened:
            found = self.one(opened, rudder_id)
            former = profiles.former_ids(opened.conn, opened.schema, found.rudder_id)
        return Response({**_profile(found), "former_ids": [str(each) for each in former]})


class TraitsView(PeopleView):
    """GET: its traits, each with the event that it comes from."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        with self.opened() as opened:
            found = self.one(opened, rudder_id)
            options = schema.read_meta(opened.conn, opened.schema).options
            traits = profiles.traits(
                opened.conn, opened.schema, found.rudder_id, options.null_clears
            )
        rows = [
            {
                "name": each.name,
                "value": each.value,
                "timestamp": each.timestamp,
                "received_at": each.received_at,
                "message_id": each.message_id,
                "identifier": {"type": each.id_type, "value": each.id_value},
            }
            for each in traits
        ]
        return Response({"rudder_id": str(found.rudder_id), "traits": rows})


class EventsView(PeopleView):
    """GET ?limit=…&before=…&before_id=…: its events, the one received last first."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        limit, before = _limit(request), _before(request)
        before_id = request.query_params.get("before_id") or None
        with self.opened() as opened:
            found = self.one(opened, rudder_id)
            stamps = profiles.former_ids(opened.conn, opened.schema, found.rudder_id)
            events = profiles.events(
                opened.conn,
                opened.namespaces,
                [found.rudder_id, *stamps],
                before,
                limit,
                before_id=before_id,
            )
        rows = [
            {
                "message_id": each.message_id,
                "type": each.type,
                "event": each.event,
                "timestamp": each.timestamp,
                "received_at": each.received_at,
                "namespace": each.namespace,
            }
            for each in events
        ]
        return Response({"rudder_id": str(found.rudder_id), "events": rows})


def _profile(found: profiles.ProfileRecord) -> dict[str, Any]:
    return {
        "rudder_id": str(found.rudder_id),
        "user_id": found.user_id,
        "email": found.email,
        "name": found.name,
        "traits": found.traits,
        "identifiers": found.identifiers,
        "identifier_count": found.identifier_count,
        "first_seen_at": found.first_seen_at,
        "last_seen_at": found.last_seen_at,
        "updated_at": found.updated_at,
    }


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_EVENTS))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EVENTS:
        raise exceptions.ValidationError(f"limit is {text!r}, expected 1 to {MAX_EVENTS}")
    return int(text)


def _before(request: Request) -> datetime | None:
    text = request.query_params.get("before")
    if not text:
        return None
    try:
        before = parse_datetime(text)
    except ValueError:
        before = None
    if before is None or is_naive(before):
        raise exceptions.ValidationError(f"before is {text!r}, expected a time with its zone")
    return before


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
