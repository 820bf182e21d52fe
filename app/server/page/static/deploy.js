// The view in which a job is written: first checked, then deployed.

import { ask, jobPath } from "./api.js";
import { byId, element, say, show, trouble } from "./dom.js";
import { rangeOf } from "./places.js";
import { worded } from "./poll.js";

const VERDICTS = {
  new: "A new job.",
  unchanged: "The plan is the same: nothing would change but how it is run.",
  compatible: "Compatible: it goes on where the version before stops, with its state.",
  needs_rebuild: "Needs a rebuild: it makes all anew from its sources, beside the version that runs, and then takes over.",
  incompatible: "Incompatible: give the sink another name and topic, or delete the job first.",
};

export async function openDeploy(signal, name) {
  show("view-deploy", name ? `Change ${name}` : "Deploy");
  const form = byId("deploy");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    check(signal);
  });
  form.addEventListener("input", forget);
  byId("deploy-go").addEventListener("click", () => deploy(signal));
  if (name) await fill(signal, name);
}

async function fill(signal, name) {
  byId("main").querySelector("h1").textContent = `Change job ${name}`;
  byId("deploy-name").value = name;
  byId("deploy-name").readOnly = true;
  try {
    const job = await ask("GET", jobPath(name), { signal });
    if (signal.aborted) return;
    byId("deploy-mode").value = job.mode;
    byId("deploy-workers").value = job.workers;
    byId("deploy-sql").value = job.sql;
    byId("deploy-settings").value = Object.entries(job.settings).map(([key, value]) => `${key} = ${value}`).join("\n");
    byId("deploy-more").open = Object.keys(job.settings).length > 0;
  } catch (error) {
    if (!signal.aborted) trouble(worded(error));
  }
}

function written() {
  const lines = byId("deploy-settings").value.split("\n").filter((line) => line.trim());
  const settings = lines.map((line) => {
    const at = line.indexOf("=");
    return at < 0 ? [line.trim(), ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  return {
    name: byId("deploy-name").value.trim(),
    sql: byId("deploy-sql").value,
    mode: byId("deploy-mode").value,
    workers: byId("deploy-workers").valueAsNumber,
    settings: Object.fromEntries(settings),
  };
}

/** What was checked is not what is written any more. */
function forget() {
  byId("deploy-go").hidden = true;
  showOutcome("");
}

function showOutcome(text, { reasons = [], detail = "" } = {}) {
  byId("deploy-verdict").textContent = text;
  byId("deploy-reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
  byId("deploy-detail").textContent = detail;
  byId("deploy-detail").hidden = detail === "";
  byId("deploy-errors").replaceChildren();
}

async function check(signal) {
  forget();
  const job = written();
  try {
    const { verdict, reasons } = await ask("POST", "/jobs?dry_run=true", { body: job, signal });
    if (JSON.stringify(written()) !== JSON.stringify(job)) return;
    showOutcome(VERDICTS[verdict] ?? verdict, { reasons });
    if (verdict === "incompatible") return;
    const go = byId("deploy-go");
    go.dataset.rebuild = verdict === "needs_rebuild";
    go.textContent = verdict === "needs_rebuild" ? "Deploy and rebuild" : "Deploy";
    go.hidden = false;
    go.focus();
  } catch (error) {
    if (!signal.aborted) showErrors(error);
  }
}

async function deploy(signal) {
  const go = byId("deploy-go");
  const job = written();
  go.hidden = true;
  showOutcome("Deploying …");
  byId("deploy-check").focus();
  try {
    await ask("POST", `/jobs?rebuild=${go.dataset.rebuild}`, { body: job });
    say(`Job ${job.name} is deployed.`);
    if (!signal.aborted) location.hash = `#${jobPath(job.name)}`;
  } catch (error) {
    if (signal.aborted) trouble(worded(error));
    else showErrors(error);
  }
}

// Errors, at the caret

function showErrors(error) {
  showOutcome("Not accepted.", { detail: worded(error) });
  const placed = (error.errors ?? []).filter((each) => each.line !== undefined);
  byId("deploy-errors").replaceChildren(...placed.map((each) => {
    const button = element("button", `Line ${each.line}, column ${each.column}: ${each.message}`, { type: "button", class: "link" });
    button.addEventListener("click", () => select(each));
    const line = document.createElement("li");
    line.append(button);
    if (each.hint) line.append(element("p", each.hint, { class: "help" }));
    return line;
  }));
  if (placed.length) select(placed[0]);
}

function select(place) {
  const field = byId("deploy-sql");
  const { start, end } = rangeOf(field.value, place);
  field.focus();
  field.setSelectionRange(start, end);
  const lineHeight = parseFloat(getComputedStyle(field).lineHeight);
  field.scrollTop = Math.max(place.line - 4, 0) * lineHeight;
}
