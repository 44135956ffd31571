"""Finds events in the admin: loaded, discarded in part, refused, dead; .venv-e2e runs it."""

from __future__ import annotations

import json

from admin_pages import STEPS, main
from people_pages import TRIES, Walk


class Search(Walk):
    """A walk that begins at Live events."""

    def post(self, *batch):
        return self.page.request.post(
            f"{self.job['base_url']}/v1/batch",
            headers={
                "Authorization": f"Basic {self.job['basic']}",
                "Content-Type": "application/json",
                "User-Agent": "shop/2",
            },
            data=json.dumps({"batch": batch}),
        ).status

    def admin(self, path):
        self.page.goto(f"{self.job['base_url']}/admin/{path}")

    def found(self, text):
        """The states of the live events that a search finds."""
        self.admin(f"events/event/?q={text}")
        return self.page.locator("#result_list tbody .rh-label").all_inner_texts()

    def wait_for(self, message_id, *states):
        for _ in range(TRIES):
            if self.found(message_id) == list(states):
                return
            self.page.wait_for_timeout(250)
        raise TimeoutError(f"{message_id} is not {states} but {self.found(message_id)}")

    def trace(self, message_id):
        self.found(message_id)
        self.page.click("#result_list tbody th a")
        self.page.wait_for_selector(".rh-trace")
        return " ".join(self.page.locator(".rh-trace").inner_text().split())


def events(page, job, folder):
    walk = Search(page, job, folder)
    walk.set_up()
    first = walk.post(*job["first"])
    walk.wait_for("good", "loaded")
    second, refused = walk.post(*job["second"]), walk.post(job["refused"])
    walk.wait_for("discarded", "loaded")
    walk.wait_for("dead", "dead letter")
    return {
        "answers": [first, second, refused],
        "live": _live(walk),
        "good": _good(walk),
        "discarded": _discarded(walk),
        "quarantined": _quarantined(walk),
        "dead": _dead(walk),
        "load": _load(walk),
        "serious": walk.serious,
        "overflow": walk.overflow,
    }


def _live(walk):
    page = walk.page
    counts = {
        text: len(walk.found(text)) for text in ("good", "ann", "tablet", "Order+Done", "7777")
    }
    page.click("[data-live-pause]")
    page.wait_for_selector("text=paused")
    page.click("[data-live-pause]")
    page.wait_for_selector("text=refreshed every")
    walk.admin("events/event/")
    walk.look("events-live")
    return {"counts": counts, "again": _copied(walk)}


def _copied(walk):
    """The line that the button of an event copies."""
    page = walk.page
    allowed = ["clipboard-read", "clipboard-write"]
    page.context.grant_permissions(allowed, origin=walk.job["base_url"])
    walk.found("good")
    page.click("#result_list [data-copy-url]")
    page.wait_for_selector("#result_list .rh-copied")
    return page.evaluate("navigator.clipboard.readText()")


def _good(walk):
    page = walk.page
    text = walk.trace("good")
    page.click(".rh-columns summary >> nth=0")
    raw = page.locator(".rh-columns").inner_text()
    walk.look("events-good")
    walk.wear("dark")
    walk.look("events-good-dark")
    walk.wear("light")
    copied = page.locator(".rh-warehouse-trace .rh-copy").count()
    page.click(".rh-warehouse-trace a:has-text('.order_done')")
    page.wait_for_selector(".rh-cells")
    rows = page.locator(".rh-cells tbody tr").count()
    walk.trace("good")
    page.click(".rh-warehouse-trace a[href*='/people/']")
    page.wait_for_selector("#identifiers")
    return {"text": text, "raw": raw, "copied": copied, "rows": rows}


def _discarded(walk):
    text = walk.trace("discarded")
    walk.look("events-discarded")
    walk.page.click("text=All discards")
    walk.look("discards")
    return text


def _quarantined(walk):
    """Not among the events: found in the quarantine, repaired, and then among them."""
    page = walk.page
    before = walk.found("refused")
    walk.admin("events/event/?status=refused&q=refused")
    listed = page.locator("#result_list tbody tr").count()
    page.click("#result_list tbody th a")
    walk.look("events-refused")
    page.click("text=Edit and send again")
    page.fill("#body", page.input_value("#body").replace("nonsense", "track"))
    page.click("button:has-text('Send')")
    page.wait_for_selector("text=Accepted")
    walk.wait_for("refused", "loaded")
    return {"before": before, "listed": listed, "after": walk.trace("refused")}


def _dead(walk):
    """Traced, re-run in vain, discarded."""
    page = walk.page
    text = walk.trace("dead")
    walk.look("events-dead")
    page.click("text=Re-run…")
    page.wait_for_selector("text=Re-run them")
    walk.look("events-rerun")
    page.click("text=Re-run them")
    page.wait_for_selector("strong:has-text('Succeeded')", timeout=30_000)
    walk.look("events-rerun-done")
    walk.admin("events/deadletter/")
    attempts = page.locator("#result_list tbody .field-attempts").all_inner_texts()
    walk.look("events-dead-letters")
    page.click("#result_list tbody th a")
    page.click("text=Discard with a note…")
    page.fill("#note", "a test of ours")
    page.click("text=Discard them")
    page.wait_for_selector("text=No open dead letters")
    walk.look("events-no-dead-letter")
    return {"text": text, "attempts": attempts, "after": walk.trace("dead")}


def _load(walk):
    walk.admin("events/load/")
    walk.page.locator("#result_list tbody th a").last.click()
    walk.page.wait_for_selector("text=Repeated rows")
    walk.look("events-load")
    return walk.page.locator(".rh-table").first.inner_text()


STEPS["events"] = events

if __name__ == "__main__":
    main()
