// Elements, texts and numbers, as all views make them.

export const byId = (id) => document.getElementById(id);

export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Puts the view of a template into the page, with its title in the focus: that is where reading begins. */
export function show(template, title) {
  byId("main").replaceChildren(byId(template).content.cloneNode(true));
  document.title = `${title} · Headrace`;
  byId("main").querySelector("h1").focus({ preventScroll: true });
  scrollTo(0, 0);
}

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
export const shown = (value) => (value === null || value === undefined ? "–" : number.format(value));

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, roundingPriority: "morePrecision", maximumFractionDigits: 0 });

export const moment = (ms) => (ms === null ? "–" : new Date(ms).toISOString().slice(0, 19).replace("T", " "));

export function duration(seconds) {
  if (seconds === null) return "–";
  for (const [unit, length] of [["days", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${short.format(seconds / length)} ${unit}`;
  }
  return `${short.format(seconds)} s`;
}

/** A row of cells; the first one names it. */
export function tableRow(head, cells) {
  const row = document.createElement("tr");
  const first = element("th", "", { scope: "row" });
  first.append(head);
  row.append(first, ...cells.map((cell) => {
    const made = document.createElement("td");
    made.append(cell);
    return made;
  }));
  return row;
}

/** The state of a job; its colour says no more than the word. */
export const badge = (state) => element("span", state, { class: `state ${state}` });

/** Have screen readers say it. */
export function say(text) {
  byId("said").textContent = text;
}

/** What is wrong with the page as a whole; nothing where all is well again. */
export function trouble(text) {
  if (byId("trouble").textContent !== text) byId("trouble").textContent = text;
}
