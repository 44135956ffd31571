"""Opens a page in headless Chromium and prints what happened; .venv-e2e runs it."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUMS_OWN = (".google.com", ".googleapis.com")
WAIT_MILLISECONDS = 30_000


def main():
    job = json.loads(sys.argv[1])
    refused = []
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _refusing(refused))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=FLAGS,
            proxy={
                "server": f"http://127.0.0.1:{proxy.server_port}",
                "bypass": "127.0.0.1,localhost",
            },
        )
        page = browser.new_page(viewport={"width": 800, "height": 400})
        seen = visit(page, job)
        browser.close()
    seen["foreign"] += refused
    print(json.dumps(seen))  # noqa: T201


def visit(page, job):
    """Stay until so many events have been answered, then leave the page.

    The requests are watched, not routed: playwright answers the preflights of routed ones itself.
    """
    asked, answered, words = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfinished", lambda request: answered.append(request.method))
    page.on("console", lambda message: words.append(message.text))
    page.on("pageerror", lambda error: words.append(str(error)))
    page.goto(job["url"])
    page.wait_for_function("document.body.dataset.ready", timeout=WAIT_MILLISECONDS)
    waited = 0
    while answered.count("POST") < job["posts"] and waited < WAIT_MILLISECONDS:
        page.wait_for_timeout(100)
        waited += 100
    page.screenshot(path=job["screenshot"])
    page.goto("about:blank")
    page.wait_for_timeout(1000)
    foreign = [url for url in asked if origin(url) not in [*job["origins"], "about://"]]
    return {"foreign": foreign, "posts": answered.count("POST"), "words": words}


def origin(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _refusing(refused):
    """The way out for every other host, which leads nowhere; beacons on leaving come here, too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            host = urlsplit(self.path).hostname or self.path.partition(":")[0]
            if not host.endswith(CHROMIUMS_OWN):
                refused.append(self.path)
            self.send_error(502)

        do_POST = do_CONNECT = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            """Says nothing."""

    return Handler


if __name__ == "__main__":
    main()
