// Asks the server's HTTP API; what goes wrong is a Problem.

import { anotherToken, token } from "./token.js";

const TIMEOUT_MS = 60_000;

/** Why a request was not answered, as the problem document says. */
export class Problem extends Error {
  constructor(status, told) {
    super(told.detail + (told.hint ? ` (${told.hint})` : ""));
    this.status = status;
    this.errors = told.errors ?? [];
  }
}

export const jobPath = (name, rest = "") => `/jobs/${encodeURIComponent(name)}${rest}`;

/** The document that is answered; null where there is none. Throws Problem, and TypeError where nobody answers. */
export async function ask(method, path, { body, signal, parse = JSON.parse } = {}) {
  for (;;) {
    const used = token();
    const headers = { ...(used && { Authorization: `Bearer ${used}` }), ...(body && { "Content-Type": "application/json" }) };
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (response.status === 401) {
      await anotherToken(used);
      continue;
    }
    const text = await response.text();
    if (response.ok) return text ? parse(text) : null;
    throw new Problem(response.status, toldIn(text) ?? { detail: `status ${response.status}` });
  }
}

function toldIn(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Parses JSON with all digits of its numbers, which JavaScript's own numbers have not; `shownValue` shows them. */
export function parseExactly(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value));
}

export const shownValue = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "");
