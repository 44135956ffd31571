"""Walks through the admin in headless Chromium and prints what it met; .venv-e2e runs it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from browser import FLAGS
from playwright.sync_api import sync_playwright

PASSWORD = "correct horse battery"
SIZES = {1280: 900, 390: 844}


def main():
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    words, foreign = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("console", lambda m: words.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: words.append(str(error)))
        page.on("request", lambda request: _note_foreign(request.url, job["base_url"], foreign))
        seen = STEPS[job["step"]](page, job, folder)
        browser.close()
    print(json.dumps({"words": words, "foreign": foreign, **seen}))  # noqa: T201


def _note_foreign(url, base_url, foreign):
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.netloc != urlsplit(base_url).netloc:
        foreign.append(url)


def set_up(page, job, folder):
    """The one-time link: make the admin, see the ticks."""
    page.goto(job["setup_url"])
    page.fill("[name=username]", "ada")
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    page.click("form button[type=submit]")
    page.wait_for_selector(".rh-ticks")
    before = page.locator(".rh-ticks .rh-good").count()
    page.screenshot(path=str(folder / "first-visit.png"))
    return {"before": before, **_send_and_wait(page, job)}


def _send_and_wait(page, job):
    """Post the events from outside, then the ticks turn green by themselves."""
    api = page.request
    answers = [
        api.post(
            f"{job['base_url']}/v1/batch",
            headers={"Authorization": f"Basic {job['basic']}", "Content-Type": "application/json"},
            data=json.dumps({"batch": batch}),
        ).status
        for batch in job["batches"]
    ]
    page.wait_for_function(
        "document.querySelectorAll('.rh-ticks .rh-good').length === 4", timeout=60_000
    )
    return {"answers": answers, "ticks": page.locator(".rh-ticks .rh-good").count()}


def visit(page, job, folder):
    """Every screen at both widths, with what axe finds in it."""
    _log_in(page, job)
    serious, texts, narrow = {}, {}, []
    for name, path in job["screens"].items():
        for width, height in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            answer = page.goto(job["base_url"] + path)
            texts[name] = answer.status
            page.wait_for_timeout(300)
            page.screenshot(path=str(folder / f"{name}-{width}.png"), full_page=width == 1280)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                narrow.append(f"{name}-{width}")
            if found := axe(page, job):
                serious[f"{name}-{width}"] = found
    return {"serious": serious, "status": texts, "overflow": narrow}


def axe(page, job):
    if not job.get("axe"):
        return []
    page.evaluate(Path(job["axe"]).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:160]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def act(page, job, folder):
    """Rotate a key; test a connection that fails."""
    _log_in(page, job)
    page.goto(job["base_url"] + job["source"])
    page.click("text=Rotate")
    page.click(".rh-primary")
    page.wait_for_selector("text=Rotated write key")
    keys = page.locator("[data-copy]").count()
    page.goto(job["base_url"] + job["destination"])
    page.click("text=Test connection")
    page.wait_for_selector(".rh-steps")
    return {"keys": keys, "failed": page.locator(".rh-steps .rh-bad").first.inner_text()}


def _log_in(page, job):
    page.goto(job["base_url"] + "/admin/login/?next=/admin/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector(".rh-ticks")


STEPS = {"set_up": set_up, "visit": visit, "act": act}

if __name__ == "__main__":
    main()
