// The token of the server's API: asked for once, and kept as long as the tab is open.

import { byId } from "./dom.js";

const KEY = "headrace-token";

let asking = null;

export const token = () => sessionStorage.getItem(KEY);

/** Resolves when there is a token that is not the one that was refused. */
export function anotherToken(refused) {
  if (token() !== refused) return Promise.resolve();
  asking ??= ask(refused !== null).finally(() => { asking = null; });
  return asking;
}

function ask(again) {
  const form = byId("token");
  const field = byId("token-text");
  if (again) byId("token-why").textContent = "The server does not take this token. Try another.";
  form.hidden = false;
  byId("main").hidden = true;
  field.value = "";
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, field.value.trim());
      form.hidden = true;
      byId("main").hidden = false;
      byId("main").querySelector("h1")?.focus();
      resolve();
    }, { once: true });
  });
}
