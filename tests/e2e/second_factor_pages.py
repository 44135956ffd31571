"""Sets up a second factor in headless Chromium and logs in with it; .venv-e2e runs it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from admin_pages import SIZES, axe
from browser import FLAGS
from playwright.sync_api import sync_playwright

from tests.support.totp import totp


def main():
    job = json.loads(sys.argv[1])
    Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    words, foreign, unsound = [], [], {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", lambda m: words.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: words.append(str(error)))
        host = urlsplit(job["base_url"]).netloc
        page.on("request", lambda r: foreign.append(r.url) if _is_foreign(r.url, host) else None)
        seen = walk(page, job, unsound)
        browser.close()
    print(json.dumps({"words": words, "foreign": foreign, "unsound": unsound, **seen}))  # noqa: T201


def _is_foreign(url, host):
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and parts.netloc != host


def walk(page, job, unsound):
    _log_in(page, job)
    page.click("text=My second factor")
    page.wait_for_selector("text=Set up a second factor")
    _look(page, job, "second-factor-off", unsound)
    page.click("text=Set up a second factor")
    page.wait_for_selector("text=Enter your password to continue")
    _look(page, job, "second-factor-password", unsound)
    page.fill("[name=password]", job["password"])
    page.keyboard.press("Enter")
    page.wait_for_selector(".rh-qr")
    _look(page, job, "second-factor-set-up", unsound)
    qr_width = page.eval_on_selector(".rh-qr", "image => image.naturalWidth")
    secret = page.get_attribute("[data-copy]", "data-copy")
    page.fill("[name=code]", totp(secret))
    page.keyboard.press("Enter")
    page.wait_for_selector(".rh-codes")
    kept = _keep(page, job, unsound)
    page.click("text=My second factor")
    page.wait_for_selector("text=Remove the second factor")
    _look(page, job, "second-factor-on", unsound)
    page.context.clear_cookies()

    _log_in(page, job)
    page.wait_for_selector("text=or a recovery code")
    asked = page.url
    _look(page, job, "second-factor-code", unsound)
    page.fill("[name=code]", "000000")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=This code is wrong")
    _look(page, job, "second-factor-wrong", unsound)
    page.fill("[name=code]", totp(secret, 1))
    page.keyboard.press("Enter")
    page.wait_for_url(job["base_url"] + "/admin/")
    return {"qr_width": qr_width, "asked": asked, "arrived": page.url, **kept}


def _keep(page, job, unsound):
    """Copies and downloads the recovery codes that are shown."""
    codes = page.locator(".rh-codes code").all_inner_texts()
    _look(page, job, "second-factor-codes", unsound)
    page.click("text=Copy")
    page.wait_for_selector("text=copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    with page.expect_download() as download:
        page.click("text=Download")
    downloaded = Path(download.value.path()).read_text(encoding="utf-8")
    page.click("text=I have saved them")
    page.wait_for_url(job["base_url"] + "/admin/")
    return {"codes": codes, "copied": copied.split(), "downloaded": downloaded.split()}


def _log_in(page, job):
    page.goto(f"{job['base_url']}/admin/login/?next=/admin/")
    page.fill("[name=username]", job["username"])
    page.fill("[name=password]", job["password"])
    page.click("button[type=submit]")


def _look(page, job, name, unsound):
    """A picture at both widths, what axe finds, and whether the page is too wide."""
    for width, height in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        page.screenshot(path=f"{job['folder']}/{name}-{width}.png", full_page=True)
        problems = axe(page, job)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
            problems.append("too wide")
        if problems:
            unsound[f"{name}-{width}"] = problems
    page.set_viewport_size({"width": 1280, "height": 900})


if __name__ == "__main__":
    main()
