"""Opens a page in headless Chromium and prints what happened; .venv-e2e runs it."""

from __future__ import annotations

import json
import shutil
import sys
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
WAIT_MILLISECONDS = 30_000


def main():
    job = json.loads(sys.argv[1])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS, headless=True
        )
        page = browser.new_page(viewport={"width": 800, "height": 400})
        print(json.dumps(visit(page, job)))  # noqa: T201
        browser.close()


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


if __name__ == "__main__":
    main()
