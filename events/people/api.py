"""The profile API: a token reads the profiles of its destination.

docs/profiles-openapi.yaml fixes the fields, which are those of the records in reads.profiles.
"""

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
from rest_framework import authentication, exceptions
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, ProfileToken
from destinations.postgres.identity import graph_schema
from destinations.postgres.reads import profiles
from events.people import store
from events.people.store import IdentityStore

logger = logging.getLogger(__name__)

MAX_EVENTS = 200
DEFAULT_EVENTS = 50


def new_token(destination: Destination, name: str) -> tuple[ProfileToken, str]:
    """A new token and its text, which is not stored."""
    text = secrets.token_urlsafe(32)
    digest = _digest(text)
    token = ProfileToken.objects.create(destination=destination, name=name, digest=digest)
    return token, text


class TokenAuthentication(authentication.BaseAuthentication):
    """Requires `Authorization: Bearer <token>`; request.auth is the ProfileToken."""

    def authenticate(self, request: Request) -> tuple[Any, ProfileToken]:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise exceptions.NotAuthenticated
        tokens = ProfileToken.objects.select_related("destination")
        token = tokens.filter(digest=_digest(text.strip()), revoked_at=None).first()
        if token is None:
            raise exceptions.AuthenticationFailed("the token is unknown or revoked")
        return None, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class JsonRenderer(BaseRenderer):
    """Renders ids, times and profiles as orjson does."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return orjson.dumps(data, default=str)


class PeopleView(APIView):
    authentication_classes = [TokenAuthentication]
    renderer_classes = [JsonRenderer]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Answers with JSON to any Accept header."""
        return JsonRenderer(), JsonRenderer.media_type

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Forbids caches to store personal data."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final.headers["Cache-Control"] = "no-store"
        return final

    @contextmanager
    def identities(self) -> Iterator[IdentityStore]:
        """The identities of the token's destination; without them, the answer is 503."""
        token: Any = self.request.auth
        try:
            with store.connect_pooled(token.destination) as identities:
                yield identities
        except (DestinationError, DestinationUnavailableError, psycopg.Error) as error:
            logger.warning("profiles of destination=%s: %s", token.destination_id, error)
            unavailable = exceptions.APIException("the warehouse cannot answer now")
            unavailable.status_code = 503
            raise unavailable from error


class FindView(PeopleView):
    """GET ?identifier=…&type=…: the profiles that have this identifier, or have or had this id."""

    def get(self, request: Request) -> Response:
        identifier = request.query_params.get("identifier", "")
        if not identifier:
            raise exceptions.ValidationError("identifier is missing")
        id_type = request.query_params.get("type") or None
        with self.identities() as identities:
            records = profiles.find_profiles(
                identities.conn, identities.schema, identifier, id_type
            )
        return Response({"profiles": records})


class ProfileView(PeopleView):
    """GET: the profile that has or had this id."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        with self.identities() as identities:
            profile = _profile(identities, rudder_id)
            former = profiles.former_ids(identities.conn, identities.schema, profile.rudder_id)
        return Response({**vars(profile), "former_ids": former})


class TraitsView(PeopleView):
    """GET: the traits of a profile, each with the event that it comes from."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        with self.identities() as identities:
            profile = _profile(identities, rudder_id)
            conn, schema = identities.conn, identities.schema
            null_clears = graph_schema.read_meta(conn, schema).options.null_clears
            traits = profiles.winning_traits(conn, schema, profile.rudder_id, null_clears)
        rows = [
            {
                "name": trait.name,
                "value": trait.value,
                "timestamp": trait.timestamp,
                "received_at": trait.received_at,
                "message_id": trait.message_id,
                "identifier": {"type": trait.id_type, "value": trait.id_value},
            }
            for trait in traits
        ]
        return Response({"rudder_id": profile.rudder_id, "traits": rows})


class EventsView(PeopleView):
    """GET ?limit=…&before=…&before_id=…: the events of a profile, the last received first."""

    def get(self, request: Request, rudder_id: UUID) -> Response:
        limit, before = _limit(request), _before(request)
        before_id = request.query_params.get("before_id") or None
        with self.identities() as identities:
            profile = _profile(identities, rudder_id)
            former = profiles.former_ids(identities.conn, identities.schema, profile.rudder_id)
            stamps = [profile.rudder_id, *former]
            events = profiles.timeline(
                identities.conn, identities.namespaces, stamps, before, limit, before_id=before_id
            )
        rows = [event._asdict() for event in events]
        return Response({"rudder_id": profile.rudder_id, "events": rows})


def _profile(identities: IdentityStore, rudder_id: UUID) -> profiles.ProfileRecord:
    records = profiles.find_profiles(identities.conn, identities.schema, str(rudder_id))
    if not records:
        raise exceptions.NotFound("no profile has or had this id")
    return records[0]


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
