from __future__ import annotations

import pytest

from events.models import Event
from tests.support.factories import make_write_key
from tests.support.http import send_event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]


def test_an_event_is_stored(client):
    key = make_write_key()

    response = send_event(client, key.key)

    assert (response.status_code, response.content) == (200, b"OK")
    event = Event.objects.get()
    assert (event.source, event.type, event.event) == (key.source, "track", "Signed Up")
    assert (event.user_id, event.anonymous_id) == ("ann", "")
