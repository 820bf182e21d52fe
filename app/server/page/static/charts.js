// Lines over the last five minutes, one for each source partition; where there are many, one for each topic.

import { element } from "./dom.js";
import { known, most } from "./status.js";

export const COLOURS = ["#3b82f6", "#e8791c", "#16a37b", "#c04ac7", "#b08a10", "#e0526a", "#0fa3c4", "#8064e0"];
const POINTS = 300;
const SECONDS_MIN = 60;
const FROM_ZERO = { min: { soft: 0, mode: 1 }, max: { pad: 0.1, soft: 1, mode: 2 } };
const AROUND = { min: { pad: 0.1 }, max: { pad: 0.1 } };
const CHARTS = [
  ["Throughput, records/s", (rows) => known(rows.map((row) => row.rate)), FROM_ZERO],
  ["Lag, records", (rows) => known(rows.map((row) => row.input.lag)), FROM_ZERO],
  ["Watermark behind the clock, s", (rows) => most(rows.map((row) => row.behind)), AROUND],
];

/** Names of lines, and the rows of each. */
function linesOf(rows) {
  const sources = rows.filter((row) => row.isSource);
  const nameOf = sources.length > COLOURS.length ? (row) => row.input.topic : (row) => row.name;
  const lines = new Map();
  for (const row of sources) lines.set(nameOf(row), [...(lines.get(nameOf(row)) ?? []), row]);
  return lines;
}

/** The colour of each line by its name. */
export const coloursOf = (rows) => new Map([...linesOf(rows).keys()].map((name, at) => [name, COLOURS[at % COLOURS.length]]));

export class Charts {
  constructor(place, signal) {
    this.place = place;
    this.names = null;
    this.times = [];
    this.plots = [];
    addEventListener("resize", () => this.resize(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.names = null; }, { signal });
    signal.addEventListener("abort", () => this.clear(), { once: true });
  }

  clear() {
    for (const { plot } of this.plots) plot.destroy();
    this.plots = [];
  }

  resize() {
    for (const { figure, plot } of this.plots) plot.setSize({ width: figure.clientWidth - 20, height: 200 });
  }

  add(rows, at) {
    const lines = linesOf(rows);
    const names = [...lines.keys()].join(" ");
    if (names !== this.names) this.begin(lines, names, at);
    this.times = [...this.times, at].slice(-POINTS);
    this.plots.forEach((each, chart) => {
      const values = [...lines.values()].map(CHARTS[chart][1]);
      each.columns = each.columns.map((column, index) => [...column, values[index]].slice(-POINTS));
      each.plot.setData([this.times, ...each.columns]);
    });
  }

  begin(lines, names, at) {
    this.clear();
    this.names = names;
    // An empty place a minute ago: of a single one uPlot would show years.
    this.times = [at - SECONDS_MIN];
    // All are in place before the first is measured: the width of each depends on how many there are.
    const figures = CHARTS.map(([title]) => element("figure", "", { role: "img", "aria-label": `${title}; the table below has the numbers` }));
    this.place.replaceChildren(...figures);
    this.plots = CHARTS.map(([title, , range], chart) => newPlot(title, range, [...lines.keys()], figures[chart]));
  }
}

/** Pixels for the numbers of an axis. */
const widthOf = (_, values) => Math.max(50, 20 + 7 * Math.max(0, ...(values ?? []).map((value) => value.length)));

function newPlot(title, range, names, figure) {
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  const series = names.map((label, at) => ({ label, stroke: COLOURS[at % COLOURS.length], width: 1.5, points: { show: false } }));
  const size = { width: figure.clientWidth - 20, height: 200 };
  const plot = new uPlot({ title, ...size, series: [{}, ...series], legend: { show: false }, scales: { y: { range } }, axes: [axis, { ...axis, size: widthOf }] }, null, figure);
  return { figure, plot, columns: names.map(() => [null]) };
}
