"""Does in the admin what the tutorial says, and takes its pictures; .venv-e2e runs it."""

from __future__ import annotations

from admin_pages import PASSWORD, STEPS, log_in, main, paste

GRAPH_AND_WHY = ".rh-panel:has(> h2:text-is('Identifiers and links'))", "#explain"
MARGIN = 16
VISIT, SEARCH, TRACE = ({"x": 0, "y": 0, "width": 1280, "height": high} for high in (800, 360, 760))


def begin(page, job, folder):
    """Steps 2 and 3: the first admin and a first event."""
    page.goto(job["setup_url"])
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_label("Repeat password").fill(PASSWORD)
    page.get_by_role("button", name="Create admin and log in").click()
    page.get_by_role("heading", name="Send a first event").wait_for()
    page.screenshot(path=folder / "first-visit.png", clip=VISIT)
    pasted = paste(page)
    page.screenshot(path=folder / "overview.png")
    return pasted


def look(page, job, folder):
    """Steps 5 and 7: the event and the person."""
    log_in(page, job)
    page.get_by_role("link", name="Live events").first.click()
    page.locator("#searchbar").fill("phone")
    page.locator("#searchbar").press("Enter")
    page.wait_for_url("**q=phone**")
    states = page.locator("#result_list .field-status").all_inner_texts()
    page.screenshot(path=folder / "live-events.png", clip=SEARCH)
    page.locator("#result_list tbody", has_text="Order Done").locator("a").first.click()
    page.get_by_role("link", name="Ann", exact=True).wait_for()
    page.screenshot(path=folder / "trace.png", clip=TRACE)
    page.get_by_role("link", name="Ann", exact=True).click()
    page.get_by_label("Connect", exact=True).fill("phone")
    page.get_by_label("with", exact=True).fill("laptop")
    page.get_by_role("button", name="Explain").click()
    answer = page.locator("#explain [role=status]").inner_text()
    page.screenshot(path=folder / "profile.png", clip=_around(page, *GRAPH_AND_WHY), full_page=True)
    return {"states": states, "answer": answer}


def _around(page, *selectors):
    """The part of the page that holds these."""
    boxes = [page.locator(each).bounding_box() for each in selectors]
    top = min(box["y"] for box in boxes) + page.evaluate("scrollY") - MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + page.evaluate("scrollY") + MARGIN
    left = boxes[0]["x"] - MARGIN
    return {"x": left, "y": top, "width": boxes[0]["width"] + 2 * MARGIN, "height": bottom - top}


STEPS |= {"begin": begin, "look": look}

if __name__ == "__main__":
    main()
