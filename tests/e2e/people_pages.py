"""Looks for people in the admin, un-merges, cuts and erases; .venv-e2e runs it."""

from __future__ import annotations

import json

from admin_pages import PASSWORD, SIZES, STEPS, axe, main

TRIES = 120


class Walk:
    """One visit: where it went wrong for somebody is kept by the name of the screen."""

    def __init__(self, page, job, folder):
        self.page, self.job, self.folder = page, job, folder
        self.people = f"{job['base_url']}/admin/people/"
        self.serious, self.overflow = {}, []

    def set_up(self):
        page = self.page
        page.goto(self.job["setup_url"])
        page.fill("[name=username]", "ada")
        page.fill("[name=password1]", PASSWORD)
        page.fill("[name=password2]", PASSWORD)
        page.click("form button[type=submit]")
        page.wait_for_selector(".rh-ticks")

    def send(self, *events):
        """Post events and wait until the last one's user has a profile with its device."""
        self.page.request.post(
            f"{self.job['base_url']}/v1/batch",
            headers={
                "Authorization": f"Basic {self.job['basic']}",
                "Content-Type": "application/json",
            },
            data=json.dumps({"batch": events}),
        )
        last = events[-1]
        for _ in range(TRIES):
            found = self.ids(last["userId"])
            if found and found == self.ids(last["anonymousId"]):
                return
            self.page.wait_for_timeout(250)
        raise TimeoutError(f"{last['messageId']} was not loaded")

    def ids(self, text):
        """What a search finds."""
        self.page.goto(f"{self.people}?q={text}")
        return self.page.locator("table a code").all_inner_texts()

    def open(self, text):
        self.ids(text)
        self.page.click("table a:has(code)")
        self.page.wait_for_selector("#identifiers")

    def look(self, name, *, scroll_to=None):
        """Pictures at both widths, and what axe and the width say."""
        page = self.page
        for width, height in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(200)
            if scroll_to:
                page.locator(scroll_to).scroll_into_view_if_needed()
            page.screenshot(path=str(self.folder / f"{name}-{width}.png"), full_page=width == 1280)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                self.overflow.append(f"{name}-{width}")
            if found := axe(page, self.job):
                self.serious[f"{name}-{width}"] = found
        page.set_viewport_size({"width": 1280, "height": SIZES[1280]})

    def wear(self, theme):
        """The admin's own switch between light and dark."""
        self.page.evaluate(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")
        self.page.reload()
        self.page.wait_for_selector("html.dark" if theme == "dark" else "html:not(.dark)")

    def confirm(self):
        self.page.fill("[name=reason]", "a shared tablet")
        self.page.click("[name=confirm]")
        self.page.wait_for_selector("text=Changes made")  # the page refreshes itself


def people(page, job, folder):
    walk = Walk(page, job, folder)
    walk.set_up()
    walk.send(*job["apart"])
    walk.send(*job["joined"])
    walk.send(*job["office"])
    return {
        "search": _search(walk),
        "undone": _undo_a_merge(walk),
        "cut": _cut_a_link(walk),
        "erased": _erase(walk),
        "many": _many(walk),
        "serious": walk.serious,
        "overflow": walk.overflow,
    }


def _search(walk):
    page = walk.page
    found = walk.ids("phone")
    walk.look("people-search")
    walk.open("phone")
    walk.look("people-profile")
    page.fill("#from", "tablet")
    page.fill("#with", "phone")
    page.click("text=Explain")
    page.wait_for_selector("#explain .rh-path")
    page.locator("section:has(.rh-graph)").screenshot(path=str(walk.folder / "people-graph.png"))
    walk.look("people-explained")
    walk.wear("dark")
    walk.look("people-dark")
    walk.wear("light")
    page.locator(".rh-graph .rh-node").first.focus()
    return {
        "found": len(found),
        "nodes": page.locator(".rh-graph .rh-node").count(),
        "edges": page.locator(".rh-graph .rh-edge").count(),
        "marked": page.locator(".rh-graph .rh-edge.rh-on-path").count(),
        "steps": page.locator("#explain .rh-path li").count(),
        "focused": page.evaluate("document.activeElement.querySelector('title').textContent"),
    }


def _undo_a_merge(walk):
    page = walk.page
    page.click("text=Merges & rules")
    walk.look("people-rules")
    page.click("text=Undo…")
    page.wait_for_selector(".rh-side")
    walk.look("people-undo")
    sides = page.locator(".rh-side").count()
    before = walk.ids("ann") == walk.ids("bob")
    page.click("text=Merges & rules")
    page.click("text=Undo…")
    walk.confirm()
    apart = walk.ids("ann") != walk.ids("bob")
    page.click("text=Merges & rules")
    page.click("text=Restore…")
    walk.confirm()
    walk.look("people-done")
    page.click("a.rh-button:text-is('Back')")
    log = page.locator("table").first.inner_text()
    return {
        "sides": sides,
        "untouched": before,
        "apart": apart,
        "again": walk.ids("ann") == walk.ids("bob"),
        "log": [word for word in ("split off", "merged") if word in log],
        "by_ada": log.count("ada"),
    }


def _cut_a_link(walk):
    page = walk.page
    walk.open("ann")
    page.click("#links tr:has-text('m3') button:has-text('Cut…')")
    page.wait_for_selector(".rh-side")
    walk.confirm()
    page.click("a.rh-button:text-is('Back')")
    page.wait_for_selector("#identifiers")
    walk.look("people-cut")
    return {
        "back_on": page.locator("#identifiers").count(),
        "drawn": page.locator(".rh-graph .rh-edge-cut").count(),
        "apart": walk.ids("ann") != walk.ids("bob"),
    }


def _erase(walk):
    page = walk.page
    walk.open("bob")
    page.click("button:text-is('Preview')")
    page.wait_for_selector("text=Identifiers to erase")
    walk.look("people-erase")
    kept = walk.ids("bob")
    walk.open("bob")
    page.click("button:text-is('Preview')")
    page.fill("[name=reason]", "asked for it")
    page.click("[name=confirm]")
    page.wait_for_selector(".rh-bar:has-text('Done')")  # the page refreshes itself
    walk.look("privacy-request")
    gone, others = walk.ids("bob"), walk.ids("ann")
    page.goto(f"{walk.job['base_url']}/admin/destinations/erasure/")
    walk.look("privacy-list")
    return {
        "kept": len(kept),
        "gone": gone,
        "others": len(others),
        "receipts": page.locator("#result_list tbody .rh-label.rh-good").all_inner_texts(),
    }


def _many(walk):
    walk.open("office")
    walk.look("people-many")
    return walk.page.locator(".rh-graph .rh-node").count()


if __name__ == "__main__":
    STEPS["people"] = people
    main()
