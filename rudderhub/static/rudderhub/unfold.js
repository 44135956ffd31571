"use strict";

// Makes unfold's pages work under a content security policy without eval. Alpine's build for such
// policies reads expressions, but neither the browser's globals nor statements. The globals are
// given here, and the statements are replaced by expressions.
const GLOBALS = {
  window: {
    location: {
      get href() { return location.href; },
      set href(address) { location.assign(address); },
      get pathname() { return location.pathname; },
      get search() { return location.search; },
      get hash() { return location.hash; },
    },
  },
  localStorage: { getItem: (name) => localStorage.getItem(name) },
  getCurrentTab: () => getCurrentTab(),
  keptSidebar(open) {
    localStorage.setItem("sidebarDesktopOpen", open ? "1" : "0");
    return open;
  },
};

const REPLACEMENTS = [
  ["body", "x-init", (code) => code.split(";")[0]], // keptSidebar does the rest
  [
    "#search-input-command",
    "x-on:keydown.enter.prevent",
    () => "$event.metaKey || $event.ctrlKey || selectItem(false, false)",
  ],
  ["#changelist-actions", "x-bind:style", () => "{ width: changeListWidth + 'px' }"],
];

document.addEventListener("alpine:init", () => {
  Alpine.data("theme", (...args) => Object.assign(theme(...args), GLOBALS));
  Alpine.data("searchForm", searchForm);
  Alpine.data("searchCommand", searchCommand);
  for (const [selector, attribute, replacement] of REPLACEMENTS) {
    for (const part of document.querySelectorAll(selector)) {
      part.setAttribute(attribute, replacement(part.getAttribute(attribute)));
    }
  }
});

htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false; // it would write a <style>
