// Opens the view that the address names; the one before ends.

import { byId } from "./dom.js";
import { openDeploy } from "./deploy.js";
import { openJob } from "./job.js";
import { openJobs } from "./jobs.js";
import { openTables } from "./tables.js";

let leaving = new AbortController();

function viewOf(page, name) {
  switch (page) {
    case "jobs": return name ? openJob : openJobs;
    case "deploy": return openDeploy;
    case "tables": return openTables;
    default: return openJobs;
  }
}

function open() {
  leaving.abort();
  leaving = new AbortController();
  byId("trouble").textContent = "";
  const [, page = "jobs", name = ""] = location.hash.split("/");
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${page || "jobs"}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  viewOf(page, name)(leaving.signal, name);
}

addEventListener("hashchange", open);
open();
