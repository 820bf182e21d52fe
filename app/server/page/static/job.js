// The view of one job: what it is, what it does, and what can be done with it.

import { ask, jobPath } from "./api.js";
import { Charts, coloursOf } from "./charts.js";
import { badge, byId, duration, element, moment, say, show, shown, tableRow, trouble } from "./dom.js";
import { pictureOf } from "./picture.js";
import { poll, worded } from "./poll.js";
import { consumedOf, known, loadOf, most, problemsOf, queriesOf, rebuildText, rowsOf } from "./status.js";

const PERIOD_MS = 1000;
const LETTERS_PERIOD_MS = 5000;
const LETTERS = 50;
const VALUE_LETTERS = 300;

export function openJob(signal, name) {
  show("view-job", name);
  byId("job-name").textContent = name;
  byId("job-edit").href = `#/deploy/${encodeURIComponent(name)}`;
  const view = { name, signal, job: null, before: null, charts: new Charts(byId("charts"), signal), text: null, isGoing: false };
  listen(view);
  poll(signal, PERIOD_MS, () => refresh(view));
  poll(signal, LETTERS_PERIOD_MS, () => refreshLetters(view));
}

async function refresh(view) {
  if (view.isGoing) return;
  const job = await ask("GET", jobPath(view.name), { signal: view.signal }).catch((error) => {
    if (error.status === 404 && !view.signal.aborted) byId("job-body").hidden = true;
    throw error;
  });
  if (view.signal.aborted || view.isGoing) return;
  byId("job-body").hidden = false;
  const at = Date.now() / 1000;
  const rows = rowsOf(job, view.before, at);
  showState(view, job);
  showProblems(problemsOf(job, shown));
  for (const part of document.querySelectorAll("[data-live]")) part.hidden = rows.length === 0;
  if (rows.length > 0) showLive(view, job, rows, at);
  view.before = consumedOf(rows, at);
  const text = JSON.stringify([job.version, job.generation, job.sql, job.mode]);
  if (text !== view.text) await showText(view, job, text);
}

function showLive(view, job, rows, at) {
  showFigures(job, rows);
  showPartitions(rows);
  view.charts.add(rows, at);
}

// State and buttons

function showState(view, job) {
  const told = `${job.state}${job.reason ? `: ${job.reason}` : ""}`;
  const before = view.job && `${view.job.state}${view.job.reason ? `: ${view.job.reason}` : ""}`;
  if (told !== before) {
    if (before) say(`Job ${job.name} is ${told}`);
    byId("job-state").replaceChildren(badge(job.state));
    byId("job-reason").textContent = job.reason ?? "";
  }
  view.job = job;
  const workers = `${job.workers} ${job.workers === 1 ? "worker" : "workers"}`;
  const restarts = job.restarts ? `, started again ${job.restarts} times` : "";
  byId("job-rebuild").textContent = rebuildText(job.rebuild, shown);
  byId("job-facts").textContent = `version ${job.version}, mode ${job.mode}, ${workers}${restarts}`;
  const possible = {
    pause: job.wanted === "running" && job.state !== "failed",
    resume: job.wanted !== "running" || job.state === "failed",
    stop: job.wanted !== "stopped",
    restart: true,
  };
  for (const button of document.querySelectorAll("[data-action]")) {
    // Not `disabled`, which would take the focus from the button that was just pressed.
    button.setAttribute("aria-disabled", !possible[button.dataset.action]);
  }
}

function listen(view) {
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      act(view, button.dataset.action);
    });
  }
  const deleting = byId("deleting"); // kept: its close is told later, perhaps when another view is shown
  byId("job-delete").addEventListener("click", () => {
    byId("deleting-title").textContent = `Delete job ${view.name}?`;
    deleting.returnValue = "";
    deleting.showModal();
  });
  deleting.addEventListener("close", () => {
    if (deleting.returnValue === "delete") remove(view);
  });
  for (const details of document.querySelectorAll("details[data-stage]")) {
    details.addEventListener("toggle", () => { if (details.open) explain(view, details); });
  }
}

async function act(view, action) {
  try {
    await ask("POST", jobPath(view.name, `/${action}`));
    if (!view.signal.aborted) await refresh(view);
  } catch (error) {
    if (!view.signal.aborted) trouble(worded(error));
  }
}

async function remove(view) {
  const topics = new FormData(byId("deleting").querySelector("form")).get("topics");
  say(`Deleting job ${view.name}.`);
  byId("job-facts").textContent = "is being deleted …";
  view.isGoing = true;
  try {
    await ask("DELETE", jobPath(view.name, `?topics=${topics}`));
    say(`Job ${view.name} is deleted.`);
    if (!view.signal.aborted) location.hash = "#/jobs";
  } catch (error) {
    view.isGoing = false;
    if (!view.signal.aborted) trouble(worded(error));
  }
}

// Numbers

function showProblems(found) {
  const list = byId("job-problems");
  // Only what changed is spoken by screen readers.
  if (list.dataset.lines === found.join("\n")) return;
  list.dataset.lines = found.join("\n");
  list.replaceChildren(...found.map((line) => element("li", line)));
}

function showFigures(job, rows) {
  const queries = queriesOf(job);
  const { rate, lag } = loadOf(rows);
  const figures = [
    ["Records/s", shown(rate)],
    ["Lag", shown(lag)],
    ["Latency p50", shownMs(most(job.status.map((worker) => worker.latency_ms?.p50 ?? null)))],
    ["Latency p99", shownMs(most(job.status.map((worker) => worker.latency_ms?.p99 ?? null)))],
    ["Watermark behind", duration(most(rows.map((row) => row.behind)))],
    ["Last commit", duration(most(job.status.map((worker) => worker.commits.last_age_s)))],
    ["Emitted", shown(known(queries.map((query) => query.emitted)))],
    ["Late", shown(known(queries.map((query) => query.late)))],
    ["Dead letters", shown(known(queries.map((query) => query.dead_lettered)))],
    ["State keys", shown(known(job.status.flatMap((worker) => worker.tasks.map((task) => task.state_keys))))],
  ];
  byId("figures").replaceChildren(...figures.map(([name, value]) => {
    const box = document.createElement("div");
    box.append(element("dt", name), element("dd", value));
    return box;
  }));
}

const shownMs = (ms) => (ms === null ? "–" : duration(ms / 1000));

function showPartitions(rows) {
  const colours = coloursOf(rows);
  byId("partitions").replaceChildren(...rows.map(({ name, task, input, rate }) => {
    const watermark = moment(input.watermark_ms) + (input.idle ? " (idle)" : "");
    const cells = [task.stage, shown(rate), shown(input.position), shown(input.end), shown(input.lag), watermark, shown(task.state_keys)];
    const row = tableRow(name, cells);
    const colour = colours.get(name) ?? colours.get(input.topic);
    if (colour) row.cells[0].style.setProperty("--colour", colour);
    return row;
  }));
}

// Dead letters

async function refreshLetters(view) {
  if (view.isGoing) return;
  const path = jobPath(view.name, `/dead-letters?limit=${LETTERS}`);
  const answered = await ask("GET", path, { signal: view.signal }).catch((error) => {
    // Said in its place: what is wrong with the page as a whole, the other question tells.
    if (error.status === undefined) throw error;
    return { dead_letters: [], problem: error.message };
  });
  if (view.signal.aborted) return;
  const letters = answered.dead_letters;
  byId("letters-none").textContent = answered.problem ?? "None.";
  byId("letters-none").hidden = letters.length > 0;
  byId("letters").hidden = letters.length === 0;
  const told = JSON.stringify(letters);
  if (view.letters === told) return;
  view.letters = told;
  byId("letters").tBodies[0].replaceChildren(...letters.map((letter) => {
    const place = letter.topic === null ? "" : `${letter.topic}-${letter.partition} @ ${letter.offset}`;
    const head = document.createDocumentFragment();
    head.append(element("div", place), element("div", moment(letter.time_ms), { class: "soft" }));
    const reason = document.createDocumentFragment();
    reason.append(element("div", letter.reason), element("div", letter.kind, { class: "soft" }));
    return tableRow(head, [reason, letter.query, cut(letter.key), element("code", cut(letter.value))]);
  }));
}

const cut = (text) => (text === null ? "null" : text.length > VALUE_LETTERS ? `${text.slice(0, VALUE_LETTERS)}…` : text);

// What it is made of

async function showText(view, job, text) {
  const picture = await ask("GET", jobPath(view.name, "/topology"), { signal: view.signal });
  if (view.signal.aborted) return;
  view.text = text;
  byId("job-sql").textContent = job.sql;
  byId("picture").replaceChildren(...pictureOf(picture, byId("picture").clientWidth));
  for (const details of document.querySelectorAll("details[data-stage]")) {
    delete details.dataset.of;
    if (details.open) explain(view, details);
  }
}

async function explain(view, details) {
  if (details.dataset.of === view.text) return;
  const place = details.querySelector("pre");
  try {
    const { text } = await ask("GET", jobPath(view.name, `/explain?stage=${details.dataset.stage}`), { signal: view.signal });
    place.textContent = text;
    details.dataset.of = view.text;
  } catch (error) {
    if (!view.signal.aborted) place.textContent = worded(error);
  }
}
