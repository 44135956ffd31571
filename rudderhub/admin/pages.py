"""Imports every section of the admin, which registers its pages."""

# ruff: noqa: F401

from __future__ import annotations

from rudderhub.admin.data import connections, destinations, loads, replays, sources
from rudderhub.admin.live_events import events
from rudderhub.admin.people import erasures, self_checks, tokens
from rudderhub.admin.problems import dead_letters, losses, quarantine
from rudderhub.admin.settings import sessions, users
