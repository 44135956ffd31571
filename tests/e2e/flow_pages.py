"""Sends a test event and follows it by the screens of the flow; .venv-e2e runs it."""

from __future__ import annotations

from admin_pages import STEPS, main
from people_pages import Walk

TRIES = 80


def flow(page, job, folder):
    walk = Walk(page, job, folder)
    walk.set_up()
    return {
        "event": _test_event(walk),
        "source": _source(walk),
        "connections": _connections(walk),
        "filter": _filter(walk),
        "destination": _destination(walk),
        "table": _table(walk),
        "system": _system(walk),
        "serious": walk.serious,
        "overflow": walk.overflow,
    }


def _go(walk, path):
    walk.page.goto(f"{walk.job['base_url']}/admin/{path}")


def _reload_until(walk, selector):
    for _ in range(TRIES):
        if walk.page.locator(selector).count():
            return True
        walk.page.wait_for_timeout(500)
        walk.page.reload()
    return False


def _open_first(walk, path):
    _go(walk, path)
    walk.page.click("#result_list tbody a >> nth=0")


def _test_event(walk):
    page = walk.page
    _open_first(walk, "sources/source/")
    walk.look("source")
    page.click("text=Send a test event")
    page.wait_for_selector("text=Accepted and stored")
    page.wait_for_selector(".rh-trace .rh-good:has-text('loaded')")  # the page follows by itself
    walk.look("test-event")
    return {"trace": "/admin/events/event/" in page.url, "loaded": True}


def _source(walk):
    """The list, once the log was counted."""
    page = walk.page
    _go(walk, "sources/source/")
    seen = _reload_until(walk, "#result_list :text('rudderhub admin')")
    walk.look("sources-list")
    return {"sdk": seen, "line": page.locator(".rh-spark path").get_attribute("d")}


def _connections(walk):
    """The picture fits the width; its boxes are reached and opened by the keyboard."""
    page = walk.page
    _go(walk, "destinations/connection/")
    walk.look("connections-picture")
    wide = page.locator(".rh-diagram-wide").is_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    narrow = page.locator(".rh-diagram-narrow").is_visible()
    page.set_viewport_size({"width": 1280, "height": 900})
    walk.wear("dark")
    walk.look("connections-dark")
    walk.wear("light")
    said = page.locator(".rh-diagram-wide a title").all_text_contents()
    page.locator(".rh-diagram-wide a >> nth=0").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Load now")
    return {"wide": wide, "narrow": narrow, "said": said}


def _filter(walk):
    """On the connection's page, where the picture has led."""
    page = walk.page
    page.select_option("[name=filter_mode]", "except")
    page.click("[name=_continue]")
    refused = page.locator("text=Enter at least one event").count()
    page.fill("[name=filtered_events]", "Left\npage")
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    walk.look("connection-filter")
    return {"refused": refused, "kept": page.input_value("[name=filtered_events]")}


def _destination(walk):
    page = walk.page
    _go(walk, "destinations/destination/")
    walk.look("destinations-list")
    _open_first(walk, "destinations/destination/")
    walk.look("destination")
    page.click("text=Test connection")
    page.wait_for_selector(".rh-steps")
    walk.look("destination-check")
    steps = page.locator(".rh-steps .rh-good").count()
    page.click("text=Back to settings")
    page.click("text=Load now")
    page.wait_for_selector("text=Loading requested")
    page.click("text=Ready-made views")
    walk.look("ready-views")
    planned = page.locator("text=will be created").count()
    page.click("text=Create views")
    page.wait_for_selector("text=rudder_daily_active_users.")
    return {"steps": steps, "planned": planned}


def _table(walk):
    page = walk.page
    _go(walk, "tables/")
    walk.look("tables-list")
    page.click("text=.test_event")
    page.wait_for_selector("text=Sample rows")
    walk.look("table")
    return {
        "rows": page.locator(".rh-cells tbody tr").count(),
        "query": page.locator("[data-copy]").first.get_attribute("data-copy"),
    }


def _system(walk):
    page = walk.page
    _go(walk, "system/")
    walk.look("system-parts")
    return {
        "working": page.locator(".rh-steps .rh-good").count(),
        "looks": page.locator("text=Viewed rows").count(),
    }


if __name__ == "__main__":
    STEPS["flow"] = flow
    main()
