"""Requests to an instance and their answers."""

from __future__ import annotations

import base64
import json
import urllib.request

TRACK = {"userId": "ann", "event": "Signed Up"}


def basic_token(user, password=""):
    """The credentials of a header for basic auth."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def send_event(client, key, body=TRACK, path="/v1/track", **headers):
    """The answer to a request with this write key, by Django's client."""
    content = body if isinstance(body, bytes) else json.dumps(body)
    headers = {"HTTP_AUTHORIZATION": f"Basic {basic_token(key)}"} | headers
    return client.post(path, content, content_type="application/json", **headers)


def html(response):
    """The text of an answer with status 200."""
    assert response.status_code == 200
    return response.content.decode()


def post(instance, path, body):
    """Send the body with the instance's write key, and expect OK."""
    request = urllib.request.Request(  # noqa: S310
        f"{instance.base_url}{path}",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Basic {basic_token(instance.write_key)}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        assert response.read() == b"OK"
