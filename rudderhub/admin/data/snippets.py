"""Snippets of code that send an event to a source."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

MOST_ARGUMENT_BYTES = 100_000
"""Linux limits one argument of a program to 131,072 bytes."""


@dataclass(frozen=True)
class Snippet:
    title: str
    code: str

    def suits(self, source_type: str) -> bool:
        return self.title.lower() == source_type.lower()


def snippets(url: str, write_key: str) -> list[Snippet]:
    """One snippet for each SDK, with the data plane's URL and the key filled in."""
    return [
        Snippet(title, template.replace("{URL}", url.rstrip("/")).replace("{KEY}", write_key))
        for title, template in _TEMPLATES.items()
    ]


def curl_command(url: str, payload: str, write_key: str = "") -> str:
    """A command that sends a stored event again, with its messageId so that it stays one row.

    Without the key, the shell fills it in from the variable WRITE_KEY.
    """
    user = shlex.quote(f"{write_key}:") if write_key else '"$WRITE_KEY:"'
    address, body = shlex.quote(url.rstrip("/") + "/v1/batch"), f'{{"batch": [{payload}]}}'
    start = f"curl {address} -u {user} \\\n  -H 'Content-Type: application/json'"
    if len(body.encode()) > MOST_ARGUMENT_BYTES:
        return f"{start} --data-binary @- <<'EVENT'\n{body}\nEVENT"
    return f"{start} -d {shlex.quote(body)}"


_TEMPLATES = {
    "curl": """\
curl {URL}/v1/track -u '{KEY}:' \\
  -H 'Content-Type: application/json' \\
  -d '{"userId": "ann", "event": "First Event", "properties": {"plan": "trial"}}'""",
    "JavaScript": """\
// npm install @rudderstack/analytics-js
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

const analytics = new RudderAnalytics();
analytics.load("{KEY}", "{URL}", { configUrl: "{URL}" });
analytics.page();
analytics.track("First Event", { plan: "trial" });""",
    "Python": """\
# pip install rudder-sdk-python
import rudderstack.analytics as analytics

analytics.write_key = "{KEY}"
analytics.dataPlaneUrl = "{URL}"
analytics.track("ann", "First Event", {"plan": "trial"})
analytics.shutdown()  # at the end of the program: sends what waits""",
    "Node": """\
// npm install @rudderstack/rudder-sdk-node
const RudderAnalytics = require("@rudderstack/rudder-sdk-node");

const analytics = new RudderAnalytics("{KEY}", { dataPlaneUrl: "{URL}" });
analytics.track({ userId: "ann", event: "First Event", properties: { plan: "trial" } });
analytics.flush();""",
    "Pixel": """\
<img src="{URL}/pixel/v1/track.gif?writeKey={KEY}&amp;anonymousId=ann&amp;event=Mail%20Opened"
     alt="" width="1" height="1">""",
}
