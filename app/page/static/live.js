// Shows the worker's /status, asked for once a second.

const PERIOD_MS = 1000;
const POINTS = 300;
const COLOURS = ["#3b82f6", "#e8791c", "#16a37b", "#c04ac7", "#b08a10", "#e0526a", "#0fa3c4", "#8064e0"];
const CHARTS = [
  ["Throughput, records/s", (row) => row.rate],
  ["Lag, records", (row) => row.input.lag],
  ["Watermark behind the clock, s", (row) => row.behind],
];

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const shown = (value) => (value === null || value === undefined ? "–" : number.format(value));

let before = null;
let names = "";
let times = [];
let plots = [];

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function rowsOf(status, at) {
  return status.tasks.flatMap((task) => task.inputs.map((input) => {
    const name = `${input.topic}-${input.partition}`;
    const was = before?.positions.get(name);
    const rate = was === undefined ? null : Math.max(input.position - was, 0) / (at - before.at);
    const behind = input.watermark_ms === null ? null : at - input.watermark_ms / 1000;
    return { name, task, input, rate, behind };
  }));
}

const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
const known = (values) => (values.some((value) => value !== null) ? sum(values) : null);

function problemsOf(status) {
  const queries = status.tasks.flatMap((task) => task.queries);
  const dead = sum(queries.map((query) => query.dead_lettered));
  const found = Object.entries(status.stalled ?? {}).map(([name, why]) => `${name} does not move: ${why}`);
  if (!status.ready) found.push("Not ready: partitions are not assigned, or their state is not restored.");
  for (const task of status.restoring) found.push(`${task.stage}-${task.partition} is being restored, ${shown(task.left)} offsets to go.`);
  if (dead) found.push(`${shown(dead)} records became dead letters.`);
  if (status.commits.failed) found.push(`${shown(status.commits.failed)} commits failed.`);
  return found;
}

function showProblems(found) {
  const lines = found.length ? found : ["None."];
  const list = byId("problems");
  list.className = found.length ? "bad" : "";
  // Only what changed is spoken by screen readers.
  if (list.dataset.lines === lines.join("\n")) return;
  list.dataset.lines = lines.join("\n");
  list.replaceChildren(...lines.map((line) => element("li", line)));
}

function showFigures(status, rows) {
  const age = status.commits.last_age_s;
  const latency = status.latency_ms;
  const figures = [
    ["Records/s", shown(known(rows.map((row) => row.rate)))],
    ["Lag", shown(known(rows.map((row) => row.input.lag)))],
    ["Latency p50, p99", latency === null ? "–" : `${shown(latency.p50)}, ${shown(latency.p99)} ms`],
    ["Last commit", age === null ? "–" : `${shown(age)} s ago`],
    ["Commits", shown(status.commits.count)],
    ["Rebalances", shown(status.rebalances)],
    ["Late", shown(sum(status.tasks.flatMap((task) => task.queries.map((query) => query.late))))],
  ];
  byId("figures").replaceChildren(...figures.map(([name, value]) => {
    const box = document.createElement("div");
    box.append(element("dt", name), element("dd", value));
    return box;
  }));
}

function showTable(rows) {
  byId("partitions").replaceChildren(...rows.map(({ name, task, input, rate }, at) => {
    const row = document.createElement("tr");
    const watermark = input.watermark_ms === null ? "–" : new Date(input.watermark_ms).toISOString().slice(0, 19).replace("T", " ");
    const cells = [task.stage, shown(rate), shown(input.position), shown(input.end), shown(input.lag), watermark + (input.idle ? " (idle)" : ""), shown(task.state_keys)];
    const head = element("th", name, { scope: "row" });
    head.style.setProperty("--colour", COLOURS[at % COLOURS.length]);
    row.append(head, ...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

function newFigure(title) {
  return element("figure", "", { role: "img", "aria-label": `${title}; the table below has the numbers` });
}

function newPlot(title, rows, figure) {
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  const series = rows.map((row, at) => ({ label: row.name, stroke: COLOURS[at % COLOURS.length], width: 1.5, points: { show: false } }));
  const size = { width: figure.clientWidth - 20, height: 200 };
  const plot = new uPlot({ title, ...size, series: [{}, ...series], legend: { show: false }, axes: [axis, { ...axis, size: 64 }] }, null, figure);
  return { figure, plot, columns: rows.map(() => []) };
}

function showCharts(rows, at) {
  const present = rows.map((row) => row.name).join(" ");
  if (present !== names) {
    for (const { plot } of plots) plot.destroy();
    // All are in place before the first is measured: the width of each depends on how many there are.
    const figures = CHARTS.map(([title]) => newFigure(title));
    byId("charts").replaceChildren(...figures);
    times = [];
    plots = CHARTS.map(([title], chart) => newPlot(title, rows, figures[chart]));
    names = present;
  }
  times = [...times, at].slice(-POINTS);
  plots.forEach((each, chart) => {
    each.columns = each.columns.map((column, index) => [...column, CHARTS[chart][1](rows[index])].slice(-POINTS));
    each.plot.setData([times, ...each.columns]);
  });
}

function show(status) {
  const at = Date.now() / 1000;
  const rows = rowsOf(status, at);
  byId("app").textContent = status.app;
  byId("worker").textContent = `worker ${status.slot}, ${status.guarantee}, version ${status.version}`;
  showProblems(problemsOf(status));
  showFigures(status, rows);
  showTable(rows);
  showCharts(rows, at);
  before = { at, positions: new Map(rows.map((row) => [row.name, row.input.position])) };
}

async function follow() {
  try {
    const response = await fetch("/status", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
  } catch (error) {
    showProblems([`The worker does not answer (${error.message}): what is below is old.`]);
  }
  setTimeout(follow, PERIOD_MS);
}

function redraw() {
  names = "";
}

addEventListener("resize", () => {
  for (const { figure, plot } of plots) plot.setSize({ width: figure.clientWidth - 20, height: 200 });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
follow();
