"""Images as events: the mail of our docs, and the requests that the element of AMP makes."""

from __future__ import annotations

import json
import re
import urllib.request
from urllib.parse import quote

import pytest

from tests.e2e.snippets import filled, snippets

pytestmark = pytest.mark.e2e

IMAGE = {"Accept": "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"}
AMP_CONTEXT = {
    "context.library.name": "Rudderstack AMP SDK",
    "context.library.version": "1.0.0",
    "context.platform": "AMP",
    "anonymousId": '"amp-device-1"',
    "context.page.path": "/start",
    "context.page.url": "https://shop.example/start",
    "context.page.title": "Start",
    "context.screen.width": "360",
}


def fetch_image(url):
    request = urllib.request.Request(url, headers=IMAGE)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        assert response.headers["Content-Type"] == "image/gif"
        assert response.read().startswith(b"GIF89a")


def test_opening_the_mail_is_an_event(instance, recorder, sdk_warehouse):
    (image,) = snippets("connect-http", "A mail or a page without scripts", "html")
    image = filled(image, recorder.url, instance.info["write_key"])

    fetch_image(re.search('src="([^"]+)"', image)[1].replace("&amp;", "&"))

    (row,) = sdk_warehouse.loaded("tracks", ["opened-1"])
    assert (row["user_id"], row["event"], row["event_text"]) == (
        "user-1",
        "mail_opened",
        "Mail Opened",
    )
    (row,) = sdk_warehouse.loaded("mail_opened", ["opened-1"])
    assert row["campaign"] == "spring"


def test_amp_sends_its_page_and_its_trigger(instance, recorder, sdk_warehouse):
    (element,) = snippets("connect-http", "An AMP page", "html")
    element = filled(element, recorder.url, instance.info["write_key"])
    config = json.loads(re.search(r"<script[^>]*>(.*)</script>", element, re.DOTALL)[1])
    names = config["vars"]
    common = {"writeKey": names["writeKey"], **AMP_CONTEXT}
    page = {**common, "properties.path": "/start", "name": names["pageName"], "messageId": "amp-1"}
    event = config["triggers"]["order"]["vars"]["eventName"]
    track = {**common, "event": event, "messageId": "amp-2"}

    for path, parameters in (("page", page), ("track", track)):
        query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
        fetch_image(f"{names['dataPlaneUrl']}/pixel/v1/{path}?{query}")

    (row,) = sdk_warehouse.loaded("pages", ["amp-1"])
    assert (row["anonymous_id"], row["name"], row["context_page_url"]) == (
        "amp-device-1",
        "Getting started",
        "https://shop.example/start",
    )
    (row,) = sdk_warehouse.loaded("tracks", ["amp-2"])
    assert (row["anonymous_id"], row["event_text"], row["context_library_name"]) == (
        "amp-device-1",
        "Order Completed",
        "Rudderstack AMP SDK",
    )
