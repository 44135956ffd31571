"""Works every control that unfold's scripts drive, under the content security policy."""

from __future__ import annotations

import json

from admin_pages import SIZES, STEPS, main
from people_pages import Walk

EVENT = {"type": "track", "userId": "ann", "event": "Order Done", "context": "no object"}
LETTERS = 60  # more than a page of the list
TRIES = 120


def controls(page, job, folder):
    walk = Walk(page, job, folder)
    walk.set_up()
    page.request.post(
        f"{job['base_url']}/v1/batch",
        headers={"Authorization": f"Basic {job['basic']}", "Content-Type": "application/json"},
        data=json.dumps({"batch": [EVENT] * LETTERS}),
    )
    return {
        "sidebar": _sidebar(walk),
        "theme": _theme(walk),
        "palette": _palette(walk),
        "tabs": _tabs(walk),
        "list": _list(walk),
        "filters": _filters(walk),
        "form": _form(walk),
        "narrow": _narrow(walk),
    }


def _go(walk, path):
    walk.page.goto(f"{walk.job['base_url']}/admin/{path}")
    walk.page.wait_for_timeout(200)


def _shown(walk, selector):
    walk.page.wait_for_timeout(300)  # for a transition to end
    return walk.page.locator(selector).first.is_visible()


def _sidebar(walk):
    """Closed, still closed on the next page, and open again."""
    button = "[x-on\\:click^='sidebarDesktopOpen']"
    walk.page.click(button)
    seen = [_shown(walk, "#nav-sidebar")]
    walk.page.reload()
    seen.append(_shown(walk, "#nav-sidebar"))
    walk.page.click(button)
    return [*seen, _shown(walk, "#nav-sidebar")]


def _theme(walk):
    """By the user's menu, which a click elsewhere closes; the next page is dark, too."""
    page = walk.page
    page.click("[x-on\\:click^='openUserLinks']")
    page.click("[x-on\\:click^=\"switchTheme('dark')\"]:visible")
    page.wait_for_selector("html.dark")
    page.click("#content")
    menu = _shown(walk, "#logout-form")
    _go(walk, "sources/source/")
    dark = page.locator("html.dark").count()
    page.evaluate("localStorage.removeItem('adminTheme')")
    return {"menu": menu, "dark": dark}


def _palette(walk):
    """Ctrl+K, a name, arrow down, Enter."""
    page = walk.page
    _open_palette(walk)
    page.keyboard.type("dead let")
    page.wait_for_selector("#command-results-list li")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/events/deadletter/")
    _open_palette(walk)
    page.keyboard.press("Escape")
    return {"closed": not _shown(walk, "#search-input-command")}


def _open_palette(walk):
    _go(walk, "")
    walk.page.keyboard.press("Control+k")
    walk.page.wait_for_selector("#search-input-command:focus")


def _tabs(walk):
    page = walk.page
    _go(walk, "sources/source/")
    page.click("#result_list tbody a >> nth=0")
    page.click("[role=tab]:has-text('Node')")
    return page.locator("[role=tabpanel]:visible").count()


def _list(walk):
    """The next page, then all letters of all pages into the action."""
    page = walk.page
    for _ in range(TRIES):
        _go(walk, "events/deadletter/#kept")
        if page.locator("a:has-text('2')[x-on\\:click\\.prevent]").count():
            break
    page.click("a:has-text('2')[x-on\\:click\\.prevent]")
    page.wait_for_url("**/events/deadletter/?p=2#kept")
    page.keyboard.press("/")
    searched = page.locator("#searchbar:focus").count()
    page.check("#action-toggle")
    idle = _shown(walk, "#changelist-actions button[name=index]")
    page.select_option("#changelist-actions [name=action]", index=1)
    page.click("#changelist-actions .question a")
    bar = page.locator("#changelist-actions")
    return {
        "searched": searched,
        "idle": idle,
        "ready": _shown(walk, "#changelist-actions button[name=index]"),
        "wide": bar.bounding_box()["width"] > 600,
        "all": bar.locator(".all").inner_text(),
    }


def _filters(walk):
    page = walk.page
    page.click("[x-on\\:click='filterOpen = true']")
    opened = _shown(walk, "#changelist-filter")
    page.click("#changelist-filter-close", position={"x": 10, "y": 10})
    closed = not _shown(walk, "#changelist-filter")
    page.click("[x-on\\:click='filterOpen = true']")
    page.click("#changelist-filter a:has-text('Discarded')")
    page.wait_for_url("**state=discarded**")
    return {"opened": opened, "closed": closed}


def _form(walk):
    """A menu beside a field opens its pop-up; what was typed is saved."""
    page = walk.page
    _go(walk, "auth/user/")
    page.click("#result_list tbody a >> nth=0")
    page.click(".related-widget-wrapper [x-on\\:click^='openRelatedWidgetWrapper']")
    with page.expect_popup() as popup:
        page.click("#related-widget-wrapper-groups .add-related")
    popup.value.wait_for_selector("[name=_popup]", state="attached")
    popup.value.close()
    page.click("#content h2 >> nth=0")
    page.fill("[name=first_name]", "Ada")
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    return page.input_value("[name=first_name]")


def _narrow(walk):
    page = walk.page
    page.set_viewport_size({"width": 390, "height": SIZES[390]})
    _go(walk, "")
    before = _shown(walk, "#nav-sidebar")
    page.click("[x-on\\:click^='sidebarMobileOpen']:visible")
    page.click("#nav-sidebar a:has-text('Destinations')")
    page.wait_for_url("**/destinations/destination/")
    return before


STEPS["controls"] = controls

if __name__ == "__main__":
    main()
