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
    """Stay until so many events have been answered, then leave the page."""
    foreign, answered, words = [], [], []
    page.route("**/*", lambda route: pass_on(route, job["origins"], foreign))
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
    return {"foreign": foreign, "posts": answered.count("POST"), "words": words}


def pass_on(route, origins, foreign):
    url = urlsplit(route.request.url)
    if f"{url.scheme}://{url.netloc}" in origins:
        route.continue_()
    else:
        foreign.append(route.request.url)
        route.abort()


if __name__ == "__main__":
    main()
