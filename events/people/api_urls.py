"""The routes of the profile API."""

from __future__ import annotations

from django.urls import path

from events.people.api import EventsView, FindView, ProfileView, TraitsView

urlpatterns = [
    path("profiles", FindView.as_view(), name="profiles"),
    path("profiles/<uuid:rudder_id>", ProfileView.as_view(), name="profile"),
    path("profiles/<uuid:rudder_id>/traits", TraitsView.as_view(), name="profile-traits"),
    path("profiles/<uuid:rudder_id>/events", EventsView.as_view(), name="profile-events"),
]
