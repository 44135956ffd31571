"""Walks through the admin in headless Chromium and prints what it met; .venv-e2e runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from browser import FLAGS
from playwright.sync_api import sync_playwright

PASSWORD = "correct horse battery"
SIZES = {1280: 900, 390: 844}
LOOKS = {"1280": ("light", 1280), "390": ("light", 390), "dark-1280": ("dark", 1280)}
TABS = 120
FOCUS_SHOWS = """() => {
  const part = document.activeElement;
  const look = () => [part, ...part.children].map((each) => {
    const style = getComputedStyle(each);
    return [style.outline, style.boxShadow, style.borderColor, style.stroke, style.strokeWidth];
  }).join();
  const focused = look();
  part.blur();
  const blurred = look();
  part.focus({ focusVisible: true });
  return focused !== blurred;
}"""
"""Whether the element in focus looks otherwise without it."""
UNREAD = """() => [...document.querySelectorAll('*')].flatMap((part) => [...part.attributes]
  .filter(({ name }) => /^(x-(data|init|show|if|text|model|bind|on|resize)|[@:])/.test(name))
  .filter(({ value }) => value)
  .map(({ value }) => value.trim().replace(/;$/, ''))
  .filter((words) => {
    try {
      return Alpine.evaluateRaw(part, `false && (${words})`);
    } catch {
      return true;
    }
  }))"""
"""The expressions of a page that Alpine's build for a policy without eval cannot read."""


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
    return {"before": before, **paste(page), "answers": _send(page, job)}


def paste(page):
    """Copy the command and run it in a shell: the steps turn green."""
    line = page.locator(".rh-snippet [data-copy]")
    line.click()
    command = ["/bin/sh", "-c", line.get_attribute("data-copy")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    page.locator(".rh-ticks .rh-good").nth(3).wait_for(timeout=60_000)
    return {"pasted": answer, "ticks": page.locator(".rh-ticks .rh-good").count()}


def _send(page, job):
    """The statuses that the batches get from outside."""
    return [
        page.request.post(
            f"{job['base_url']}/v1/batch",
            headers={"Authorization": f"Basic {job['basic']}", "Content-Type": "application/json"},
            data=json.dumps({"batch": batch}),
        ).status
        for batch in job["batches"]
    ]


def visit(page, job, folder):
    """Every screen at both widths, and in the dark, with what axe finds in it."""
    log_in(page, job)
    serious, texts, narrow, unread = {}, {}, [], set()
    for look, (theme, width) in LOOKS.items():
        page.set_viewport_size({"width": width, "height": SIZES[width]})
        page.evaluate(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")
        for name, path in job["screens"].items():
            texts[name] = page.goto(job["base_url"] + path).status
            page.wait_for_timeout(300)
            page.screenshot(path=str(folder / f"{name}-{look}.png"), full_page=width == 1280)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                narrow.append(f"{name}-{look}")
            unread.update(page.evaluate(UNREAD))
            if found := axe(page, job):
                serious[f"{name}-{look}"] = found
    return {
        "serious": serious,
        "status": texts,
        "overflow": narrow,
        "unread": sorted(unread),
    }


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
    log_in(page, job)
    page.goto(job["base_url"] + job["source"])
    page.click("text=Rotate")
    page.click(".rh-primary")
    page.wait_for_selector("text=Rotated write key")
    keys = page.locator("[data-copy]").count()
    page.goto(job["base_url"] + job["destination"])
    page.click("text=Test connection")
    page.wait_for_selector(".rh-steps")
    return {"keys": keys, "failed": page.locator(".rh-steps .rh-bad").first.inner_text()}


def keys(page, job, folder):
    """The main controls by the keyboard alone; those whose focus cannot be seen are told."""
    log_in(page, job)
    walk = Keys(page)
    walk.to("[name=range]").press("End").to("form.rh-filters button").press("Enter")
    page.wait_for_url("**range=30d**")
    walk.to("nav a:has-text('Live events'), a[href$='/events/event/']").press("Enter")
    walk.to("[role=button]:has-text('ada')").press("Enter").to("#logout-form button")
    page.reload()
    walk.to("[data-live-pause]").press("Space")
    paused = walk.focused.get_attribute("aria-pressed")
    walk.to("#searchbar").write("good").press("Enter")
    page.wait_for_url("**q=good**")
    found = page.locator("#result_list tbody").count()
    walk.to("[role=button]:has-text('Filters')").press("Enter")
    walk.to("#changelist-filter a[href*='type=track']").press("Enter")
    page.wait_for_url("**type=track**")
    page.goto(job["base_url"] + job["profile"])
    walk.to(".rh-graph .rh-node")
    page.goto(job["base_url"] + job["letter"])
    walk.to("a:has-text('Discard with a note')").press("Enter")
    walk.to("#note").write("a test").to("button:has-text('Discard them')").press("Enter")
    page.wait_for_selector("text=No open dead letters")
    return {"paused": paused, "found": found, "unseen": walk.unseen}


class Keys:
    """Moves by Tab and notes where the focus does not show."""

    def __init__(self, page):
        self.page, self.unseen = page, []

    @property
    def focused(self):
        return self.page.locator(":focus")

    def to(self, selector):
        wanted = self.page.locator(selector)
        for _ in range(TABS):
            self.page.keyboard.press("Tab")
            if self.focused.count() and self.focused.and_(wanted).count():
                if not self.page.evaluate(FOCUS_SHOWS):
                    self.unseen.append(selector)
                return self
        raise TimeoutError(f"Tab does not reach {selector}")

    def press(self, key):
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(300)
        return self

    def write(self, text):
        self.page.keyboard.type(text)
        return self


def log_in(page, job):
    page.goto(job["base_url"] + "/admin/login/?next=/admin/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector(".rh-ticks")


STEPS = {"set_up": set_up, "visit": visit, "act": act, "keys": keys}

if __name__ == "__main__":
    main()
