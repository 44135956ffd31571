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

// What is to be copied: text of the page, or of an address that is asked for it.
async function textOf(button) {
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
    done = await copyText(await textOf(button));
  } catch (error) {
    console.warn("copying failed", error);
  }
  if (event.detail) {
    button.blur(); // it was clicked: a live part with the focus in it is not refreshed
  }
  const word = button.textContent;
  button.textContent = done ? "copied" : "press Ctrl+C";
  button.classList.toggle("rh-copied", done);
  setTimeout(() => {
    button.textContent = word;
    button.classList.remove("rh-copied");
  }, 1500);
});

// A second click while a form is being sent sends nothing again.
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

// A part marked data-live="seconds" is fetched again and replaced, from data-live-url if it has one.
// While the page is in the background or paused, and while text of the part is marked or something
// in it has the focus, it stays as it is.
let livePaused = false;

function isMarked(part) {
  const selection = document.getSelection();
  return Boolean(String(selection ?? "")) && selection.containsNode(part, true);
}

function mayReplace(part) {
  const busy = part.contains(document.activeElement) && document.activeElement !== part;
  return !livePaused && !document.hidden && !isMarked(part) && !busy;
}

function reloadUnlessMarked() {
  if (!String(document.getSelection() ?? "")) {
    location.reload();
  }
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
  if (!fresh) {
    reloadUnlessMarked(); // it has ended: the whole page tells how
  } else if (mayReplace(part)) {
    part.innerHTML = fresh.innerHTML;
    replaceToo(page);
  }
}

// What stands elsewhere on the page and goes with the part, such as the links to other pages of it.
function replaceToo(page) {
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
  const tell = (text) => { if (state) { state.textContent = text; } };
  let isAsking = false; // a slow server is not asked again before it has answered
  const refresh = async () => {
    if (isAsking) {
      return;
    }
    isAsking = true;
    try {
      await refreshLive(part);
      tell(liveState(part, seconds));
    } catch (error) {
      tell("the server does not answer; retrying");
    } finally {
      isAsking = false;
    }
  };
  tell(liveState(part, seconds));
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

// unfold's menus open by a click only: let the keyboard reach and open them, too.
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

function letKeysOpen(part) {
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
  document.querySelectorAll("[x-on\\:click]").forEach(letKeysOpen);
});
