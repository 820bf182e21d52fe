// Does something again and again, as long as somebody may see it.

import { trouble } from "./dom.js";
import { Problem } from "./api.js";

/** Ends when the signal is given. What goes wrong is shown, and tried again. */
export async function poll(signal, periodMs, step) {
  while (!signal.aborted) {
    await visible(signal);
    if (signal.aborted) return;
    try {
      await step();
      if (!signal.aborted) trouble("");
    } catch (error) {
      if (signal.aborted) return;
      trouble(worded(error));
    }
    await pause(periodMs, signal);
  }
}

export function worded(error) {
  return error instanceof Problem ? error.message : `The server does not answer (${error.message}): what is below is old.`;
}

export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

function visible(signal) {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
}
