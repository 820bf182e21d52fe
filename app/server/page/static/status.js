// What the workers of a job say, as rows of partitions with rates: pure, apart from the clock that is given.

/** One row for each partition that a task reads, sources first; `before` has what was consumed when it was looked last. */
export function rowsOf(job, before, at) {
  const sources = new Set(job.reads);
  const rows = job.status.flatMap((worker) => worker.tasks.flatMap((task) => task.inputs.map((input) => {
    const name = `${input.topic}-${input.partition}`;
    const id = `${task.stage} ${name}`;
    const was = before?.consumed.get(id);
    // A task that was opened anew counts from zero.
    const rate = was === undefined ? null : Math.max(input.consumed - was, 0) / (at - before.at);
    const behind = input.watermark_ms === null ? null : at - input.watermark_ms / 1000;
    return { id, name, task, input, rate, behind, isSource: sources.has(input.topic) };
  })));
  return rows.sort((a, b) => b.isSource - a.isSource);
}

export const consumedOf = (rows, at) => ({ at, consumed: new Map(rows.map((row) => [row.id, row.input.consumed])) });

/** The sum of what is known; null where nothing is. */
export function known(values) {
  const present = values.filter((value) => value !== null && value !== undefined);
  return present.length ? present.reduce((total, value) => total + value, 0) : null;
}

export const most = (values) => values.reduce((most, value) => (value !== null && (most === null || value > most) ? value : most), null);

/** Records/s and lag of a job: of what it reads from its sources. */
export function loadOf(rows) {
  const sources = rows.filter((row) => row.isSource);
  return { rate: known(sources.map((row) => row.rate)), lag: known(sources.map((row) => row.input.lag)) };
}

export const queriesOf = (job) => job.status.flatMap((worker) => worker.tasks.flatMap((task) => task.queries));

/** What becomes of the version that is made anew beside the one that does the work; nothing where there is none. */
export function rebuildText(rebuild, shown) {
  if (!rebuild) return "";
  const reason = rebuild.reason ? ` (${rebuild.reason})` : "";
  if (rebuild.switching) return `Rebuilt as generation ${rebuild.generation}, which takes over now.${reason}`;
  const behind = rebuild.behind === null ? "" : `, ${shown(rebuild.behind)} records behind`;
  return `Being rebuilt as generation ${rebuild.generation}: ${rebuild.state}${behind}.${reason}`;
}

export function problemsOf(job, shown) {
  const found = [];
  for (const worker of job.status) {
    for (const [name, why] of Object.entries(worker.stalled)) found.push(`${name} does not move: ${why}`);
    for (const task of worker.restoring) found.push(`${task.stage}-${task.partition} is being restored, ${shown(task.left)} offsets to go.`);
    if (worker.commits.failed) found.push(`Worker ${worker.slot}: ${shown(worker.commits.failed)} commits failed.`);
  }
  const dead = known(queriesOf(job).map((query) => query.dead_lettered));
  if (dead) found.push(`${shown(dead)} records became dead letters since the workers were started.`);
  return found;
}
