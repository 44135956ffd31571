"""The real SDKs for browsers, hosted by our server, in headless Chromium on another site's page."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from rudderhub.env import ROOT
from tests.e2e.rows import assert_loaded, assert_the_docs_calls
from tests.e2e.site import Site
from tests.e2e.snippets import filled, snippets
from tests.support.wait import wait_for

pytestmark = pytest.mark.e2e

OWN_PYTHON = str(ROOT / ".venv-e2e" / "bin" / "python")
NODE_MODULES = str(ROOT / "var" / "e2e" / "node" / "node_modules")
SCREENS = ROOT / "var" / "e2e" / "screens"
RUDDERSTACK_CALLS = ["identify", "track", "page", "group", "alias"]
SEGMENT_CALLS = [*RUDDERSTACK_CALLS, "screen"]
SHOW = """\
<script type="%s">
  %s.ready(function () {
    document.getElementById("state").textContent = "the SDK is ready and has sent its events";
    document.body.dataset.ready = "yes";
  });
</script>
"""
BATCHING = {"integrations": {"Segment.io": {"deliveryStrategy": {"strategy": "batching"}}}}


@pytest.fixture
def visit(recorder, instance):
    """Open a page with this content in Chromium; it may ask the site and the server, no other."""

    def visit(name, content, posts):
        SCREENS.mkdir(parents=True, exist_ok=True)
        content = filled(content, recorder.url, instance.info["write_key"])
        with Site(name, content) as site:
            job = {
                "url": site.url,
                "origins": [site.url, recorder.url],
                "screenshot": str(SCREENS / f"{name}.png"),
                "posts": posts,
            }
            done = subprocess.run(  # noqa: S603
                [OWN_PYTHON, "tests/e2e/browser.py", json.dumps(job)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return visit


def script(code, kind="text/javascript"):
    return f'<script type="{kind}">\n{code}</script>\n'


def official_snippet(load):
    """Segment's own, from its package, with the host changed as the docs say."""
    options = {"apiKey": "WRITE_KEY", "page": False, "load": load}
    render = f"console.log(require('@segment/snippet').min({json.dumps(options)}))"
    done = subprocess.run(  # noqa: S603
        ["node", "-e", render],  # noqa: S607
        env=os.environ | {"NODE_PATH": NODE_MODULES},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "https://cdn.segment.com" in done.stdout
    return done.stdout.replace("https://cdn.segment.com", "https://events.example.com")


def assert_arrived(recorder, sdk_warehouse, kinds):
    wait_for(lambda: len(recorder.messages()) >= len(kinds), 10)
    assert recorder.failures() == []
    assert_loaded(sdk_warehouse, recorder.messages())
    assert_the_docs_calls(sdk_warehouse, recorder.messages(), kinds)


@pytest.mark.parametrize("build", ["modern", "legacy"])
def test_rudderstacks_sdk_sends_by_xhr(build, visit, recorder, sdk_warehouse):
    (snippet,) = snippets("connect-browser", "RudderStack's SDK", "html")
    (calls,) = snippets("connect-browser", "RudderStack's SDK", "js")
    snippet = snippet.replace("/v3/modern/", f"/v3/{build}/")

    seen = visit(
        f"rudderstack-{build}", snippet + script(calls) + SHOW % ("", "rudderanalytics"), posts=5
    )

    assert seen == {"foreign": [], "posts": 5, "words": []}
    assert recorder.queries(f"/v3/{build}/rsa.min.js") == [{}]
    assert "OPTIONS" in {exchange.method for exchange in recorder.exchanges}
    assert_arrived(recorder, sdk_warehouse, RUDDERSTACK_CALLS)


def test_rudderstacks_sdk_sends_by_beacon_when_the_page_is_left(visit, recorder, sdk_warehouse):
    (snippet,) = snippets("connect-browser", "RudderStack's SDK", "html")
    (calls,) = snippets("connect-browser", "RudderStack's SDK", "js")
    (load,) = snippets("connect-browser", "By beacon", "js")
    by_xhr = 'rudderanalytics.load("WRITE_KEY", "https://events.example.com");\n'
    assert by_xhr in snippet
    snippet = snippet.replace(by_xhr, load)

    seen = visit(
        "rudderstack-beacon", snippet + script(calls) + SHOW % ("", "rudderanalytics"), posts=0
    )

    assert (seen["foreign"], seen["words"]) == ([], [])
    assert_arrived(recorder, sdk_warehouse, RUDDERSTACK_CALLS)
    assert {e.path for e in recorder.exchanges if e.messages()} == {"/beacon/v1/batch"}


def test_rudderstacks_npm_package_sends(visit, recorder, sdk_warehouse):
    (code,) = snippets("connect-browser", "From the npm package", "js")
    (calls,) = snippets("connect-browser", "RudderStack's SDK", "js")

    seen = visit(
        "rudderstack-npm",
        script(code + calls, "module") + SHOW % ("module", "rudderanalytics"),
        posts=5,
    )

    assert seen == {"foreign": [], "posts": 5, "words": []}
    assert_arrived(recorder, sdk_warehouse, RUDDERSTACK_CALLS)


@pytest.mark.parametrize(
    ("name", "load", "posts"), [("segment", {}, 6), ("segment-batching", BATCHING, 1)]
)
def test_segments_sdk_sends_from_its_official_snippet(
    name, load, posts, visit, recorder, sdk_warehouse
):
    (calls,) = snippets("connect-browser", "Segment's SDK", "js")

    seen = visit(
        name, script(official_snippet(load)) + script(calls) + SHOW % ("", "analytics"), posts
    )

    assert seen == {"foreign": [], "posts": posts, "words": []}
    assert_arrived(recorder, sdk_warehouse, SEGMENT_CALLS)
