// The view of streams and tables: what there is, the rows of a table, and questions in SQL.

import { ask, parseExactly, shownValue } from "./api.js";
import { byId, element, moment, show, shown, tableRow, trouble } from "./dom.js";
import { worded } from "./poll.js";

const LIMIT = 200;

export async function openTables(signal) {
  show("view-tables", "Tables");
  const field = byId("query-sql");
  byId("query").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { sql: field.value, limit: LIMIT, job: byId("query-job").value || null };
    answer(() => ask("POST", "/query", { body, signal, parse: parseExactly }), signal);
  });
  try {
    const { relations } = await ask("GET", "/relations", { signal });
    if (signal.aborted) return;
    byId("no-relations").hidden = relations.length > 0;
    const jobs = [...new Set(relations.map((relation) => relation.job))].sort();
    byId("query-job").append(...jobs.map((job) => element("option", job, { value: job })));
    byId("relations").replaceChildren(...relations.map((relation) => shownRelation(relation, signal)));
  } catch (error) {
    if (!signal.aborted) trouble(worded(error));
  }
}

function shownRelation(relation, signal) {
  const item = element("li", "", { class: "card" });
  const title = element("h3", relation.name);
  const origin = document.createElement("p");
  origin.append(`${relation.kind.toLowerCase()} of job `, element("a", relation.job, { href: `#/jobs/${encodeURIComponent(relation.job)}` }), `, topic ${relation.topic}`);
  const columns = relation.columns.map(({ name, type }) => `${name} ${type}${relation.keys.includes(name) ? " KEY" : ""}`);
  item.append(title, origin, element("p", columns.join(", "), { class: "soft" }));
  if (relation.kind === "TABLE") item.append(rowsButton(relation, signal));
  return item;
}

function rowsButton(relation, signal) {
  const button = element("button", "Rows", { type: "button", "aria-label": `Rows of ${relation.name}` });
  button.addEventListener("click", async () => {
    const path = `/tables/${encodeURIComponent(`${relation.job}.${relation.name}`)}?limit=${LIMIT}`;
    await answer(() => ask("GET", path, { signal, parse: parseExactly }), signal, `${relation.name}: `);
    byId("answer-note").scrollIntoView({ block: "nearest" });
  });
  return button;
}

async function answer(asked, signal, title = "") {
  byId("answer-note").textContent = "Reading …";
  byId("answer-problem").hidden = true;
  byId("answer").hidden = true;
  try {
    const found = await asked();
    if (signal.aborted) return;
    showRows(found.rows);
    const times = [found.read_ms, found.newest_ms].map((ms) => (ms === null ? null : Number(shownValue(ms))));
    const total = Number(shownValue(found.total));
    const part = total > found.rows.length ? `${shown(found.rows.length)} of ${shown(total)} rows` : `${shown(total)} ${total === 1 ? "row" : "rows"}`;
    byId("answer-note").textContent = `${title}${part}, as of ${moment(times[0])} UTC`;
  } catch (error) {
    if (signal.aborted) return;
    byId("answer-note").textContent = "No answer.";
    byId("answer-problem").textContent = worded(error);
    byId("answer-problem").hidden = false;
  }
}

function showRows(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const head = document.createElement("tr");
  head.append(...names.map((name) => element("th", name, { scope: "col" })));
  const table = byId("answer");
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const [first, ...others] = names.map((name) => (name in row ? shownValue(row[name]) : ""));
    return tableRow(first, others);
  }));
  table.hidden = rows.length === 0;
}
