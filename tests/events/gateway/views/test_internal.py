from __future__ import annotations

import json

import pytest

from destinations.models import Destination
from events.models import Event
from tests.support.factories import make_connection, make_destination, make_source
from tests.support.http import TRACK, basic_token, send_event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]


def test_events_for_one_destination_name_it(client):
    source = make_source()
    destination = make_destination()
    make_connection(source, destination)
    headers = {
        "HTTP_AUTHORIZATION": f"Basic {basic_token(source.public_id)}",
        "HTTP_X_RUDDER_DESTINATION_ID": destination.public_id,
    }
    batch = {"batch": [TRACK | {"type": "track"}]}

    stored = send_event(client, "", batch, "/internal/v1/retl", **headers)
    Destination.objects.update(enabled=False)
    disabled = send_event(client, "", batch, "/internal/v1/retl", **headers)

    assert (stored.status_code, disabled.status_code) == (200, 404)
    payload = json.loads(Event.objects.get().payload)
    assert payload["rudderDestinationId"] == destination.public_id
