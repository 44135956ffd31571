"use strict";

// Copy buttons. The clipboard API needs https or localhost; elsewhere a hidden field does it.
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.style.position = "fixed";
  field.style.opacity = "0";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

// The text that a button copies: from the page, or from an address that returns it.
async function copyTextOf(button) {
  const url = button.dataset.copyUrl;
  if (url === undefined) {
    return button.dataset.copy;
  }
  const response = await fetch(url);
  if (!response.ok || response.redirected) {
    throw new Error(`${url} answered ${response.status}`);
  }
  return response.text();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-url]");
  if (!button) {
    return;
  }
  event.preventDefault();
  let done = false;
  try {
    done = await copyText(await copyTextOf(button));
  } catch (error) {
    console.warn("copying failed", error);
  }
  if (event.detail) {
    button.blur(); // a live part is not refreshed while something in it has the focus
  }
  const word = button.textContent;
  button.textContent = done ? "copied" : "press Ctrl+C";
  button.classList.toggle("rh-copied", done);
  setTimeout(() => {
    button.textContent = word;
    button.classList.remove("rh-copied");
  }, 1500);
});

// A second click on a form that is being sent is ignored.
const SENDING_MS = 3000;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) {
    return;
  }
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  setTimeout(() => { delete form.dataset.sent; }, SENDING_MS);
});

// A part with data-live="seconds" is refreshed, from data-live-url if it has one. It is not while
// the page is in the background or paused, or while text of the part is selected or has the focus.
let livePaused = false;

function isSelected(part) {
  const selection = document.getSelection();
  return Boolean(String(selection ?? "")) && selection.containsNode(part, true);
}

function mayReplace(part) {
  const busy = part.contains(document.activeElement) && document.activeElement !== part;
  return !livePaused && !document.hidden && !isSelected(part) && !busy;
}

async function refreshLive(part) {
  if (!mayReplace(part)) {
    return;
  }
  const url = part.dataset.liveUrl ?? location.href;
  const response = await fetch(url, { headers: { "X-Refresh": "1" } });
  if (!response.ok || response.redirected) {
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (fresh && mayReplace(part)) {
    part.innerHTML = fresh.innerHTML;
    replaceLinkedParts(page);
  } else if (!fresh && !String(document.getSelection() ?? "")) {
    location.reload(); // the work has ended, and the whole page shows its result
  }
}

// Other parts of the page that change with the live part, such as the links to further pages.
function replaceLinkedParts(page) {
  const fresh = page.querySelectorAll("[data-live-linked]");
  document.querySelectorAll("[data-live-linked]").forEach((part, place) => {
    part.innerHTML = fresh[place]?.innerHTML ?? part.innerHTML;
  });
}

function startLive() {
  const part = document.querySelector("[data-live]");
  if (!part) {
    return;
  }
  const state = document.querySelector("[data-live-state]");
  const seconds = Number(part.dataset.live);
  const showState = (text) => { if (state) { state.textContent = text; } };
  let isFetching = false; // one request at a time, also to a slow server
  const refresh = async () => {
    if (isFetching) {
      return;
    }
    isFetching = true;
    try {
      await refreshLive(part);
      showState(liveState(part, seconds));
    } catch (error) {
      showState("the server does not answer; retrying");
    } finally {
      isFetching = false;
    }
  };
  showState(liveState(part, seconds));
  setInterval(refresh, seconds * 1000);
  document.addEventListener("visibilitychange", refresh);
}

function liveState(part, seconds) {
  if (livePaused) {
    return "paused";
  }
  return mayReplace(part) || document.hidden
    ? `refreshed every ${seconds} s`
    : "not refreshed while text is selected or a field is in focus";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-live-pause]");
  if (button) {
    livePaused = !livePaused;
    button.textContent = livePaused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(livePaused));
  }
});
document.addEventListener("DOMContentLoaded", startLive);

// unfold's menus open only by a click: this makes them accessible by keyboard.
const MENUS = {
  filterOpen: "Filters",
  openTheme: "Theme",
  openUserLinks: null, // it shows the user's name
  sidebarDesktopOpen: "Navigation",
  sidebarMobileOpen: "Navigation",
  "switchTheme('auto')": "System theme",
  "switchTheme('dark')": "Dark theme",
  "switchTheme('light')": "Light theme",
};

function makeKeyboardAccessible(part) {
  const name = MENUS[part.getAttribute("x-on:click").split(" ")[0]];
  if (name === undefined || part.matches("button, a[href]") || !part.childNodes.length) {
    return;
  }
  part.tabIndex = 0;
  part.setAttribute("role", "button");
  if (name) {
    part.setAttribute("aria-label", name);
  }
  part.querySelectorAll(".material-symbols-outlined").forEach((icon) => { icon.ariaHidden = "true"; });
  part.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      part.click();
    }
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[x-on\\:click]").forEach(makeKeyboardAccessible);
});
