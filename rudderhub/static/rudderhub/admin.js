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

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) {
    return;
  }
  event.preventDefault();
  let done = false;
  try {
    done = await copyText(button.dataset.copy);
  } catch (error) {
    console.warn("copying failed", error);
  }
  const word = button.textContent;
  button.textContent = done ? "copied" : "press Ctrl+C";
  setTimeout(() => { button.textContent = word; }, 1500);
});
