// The view of all jobs.

import { ask, jobPath } from "./api.js";
import { badge, byId, element, say, show, shown, tableRow } from "./dom.js";
import { pause, poll } from "./poll.js";
import { consumedOf, loadOf, rowsOf } from "./status.js";

const PERIOD_MS = 2000;
const STEP_MS = 100;
const WITHOUT_WORKERS = new Set(["stopped", "failed", "waiting"]);

export function openJobs(signal) {
  show("view-jobs", "Jobs");
  const lines = new Map();
  return poll(signal, PERIOD_MS, async () => {
    const { jobs } = await ask("GET", "/jobs", { signal });
    if (signal.aborted) return;
    showJobs(lines, jobs);
    for (const job of jobs) {
      const line = lines.get(job.name);
      if (WITHOUT_WORKERS.has(job.state)) showLoad(line, { rate: null, lag: null });
      else await follow(line, job.name, signal);
      if (signal.aborted) return;
    }
  });
}

function showJobs(lines, jobs) {
  byId("no-jobs").hidden = jobs.length > 0;
  byId("job-list").hidden = jobs.length === 0;
  const names = new Set(jobs.map((job) => job.name));
  for (const [name, line] of lines) {
    if (names.has(name)) continue;
    line.row.remove();
    lines.delete(name);
    say(`Job ${name} is gone.`);
  }
  const body = byId("job-list").tBodies[0];
  jobs.forEach((job, at) => {
    if (!lines.has(job.name)) lines.set(job.name, newLine(job.name));
    const line = lines.get(job.name);
    // A row that is in its place stays there: moving it would take the focus from its link.
    if (body.rows[at] !== line.row) body.insertBefore(line.row, body.rows[at] ?? null);
    showJob(line, job);
  });
}

function newLine(name) {
  const row = tableRow(element("a", name, { href: `#${jobPath(name)}` }), ["", "", "", "–", "–"]);
  for (const cell of [row.cells[2], row.cells[3]]) cell.className = "wide";
  return { row, told: null, before: null };
}

function showJob(line, job) {
  const [, state, version, mode] = line.row.cells;
  const told = `${job.state}${job.reason ? `: ${job.reason}` : ""}`;
  if (line.told !== told) {
    if (line.told !== null) say(`Job ${job.name} is ${told}`);
    line.told = told;
    state.replaceChildren(badge(job.state), ...(job.reason ? [element("div", job.reason, { class: "reason" })] : []));
  }
  version.textContent = job.version;
  mode.textContent = job.mode;
}

async function follow(line, name, signal) {
  const job = await ask("GET", jobPath(name), { signal }).catch((error) => {
    if (error.status !== 404) throw error;
  });
  if (!job || signal.aborted) return;
  const at = Date.now() / 1000;
  const rows = rowsOf(job, line.before, at);
  line.before = consumedOf(rows, at);
  showLoad(line, loadOf(rows));
  await pause(STEP_MS, signal); // Many jobs are not asked all at once.
}

function showLoad(line, { rate, lag }) {
  line.row.cells[4].textContent = shown(rate);
  line.row.cells[5].textContent = shown(lag);
}
