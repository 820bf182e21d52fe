// A layered layout: each node behind all that lead to it, in an order that has few crossings. Pure.

const SWEEPS = 4;

/** Rows of nodes, layer by layer, and for each edge the nodes it passes: where it is long, points that hold its place. */
export function layered(nodes, edges) {
  const level = levels(nodes, edges);
  const layers = [];
  const put = (node, at) => (layers[at] ??= []).push(node);
  for (const node of nodes) put(node, level.get(node.id));
  const paths = edges.map(({ source, target }) => {
    const path = [source];
    for (let at = level.get(source) + 1; at < level.get(target); at += 1) {
      const point = { id: `${source} > ${target} at ${at}`, isPoint: true };
      put(point, at);
      path.push(point.id);
    }
    return [...path, target];
  });
  order(layers, paths);
  return { layers, paths };
}

/** The longest way to each node. An edge that closes a circle counts for nothing. */
function levels(nodes, edges) {
  const level = new Map();
  const open = new Set();
  const find = (id) => {
    if (level.has(id)) return level.get(id);
    if (open.has(id)) return -1;
    open.add(id);
    const before = edges.filter((edge) => edge.target === id).map((edge) => find(edge.source));
    open.delete(id);
    level.set(id, Math.max(-1, ...before) + 1);
    return level.get(id);
  };
  for (const node of nodes) find(node.id);
  return level;
}

/** Sorts each layer by the middle of its neighbours, forwards and backwards in turn. */
function order(layers, paths) {
  const links = paths.flatMap((path) => path.slice(1).map((id, at) => [path[at], id]));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forwards = sweep % 2 === 0;
    for (const at of forwards ? layers.keys() : [...layers.keys()].reverse()) {
      const next = layers[forwards ? at - 1 : at + 1] ?? [];
      const place = new Map(next.map((node, index) => [node.id, index]));
      const middle = new Map(layers[at].map((node, index) => {
        const near = links.map(([from, to]) => (forwards ? to === node.id && from : from === node.id && to));
        const places = near.filter((id) => id !== false && place.has(id)).map((id) => place.get(id));
        return [node.id, places.length ? places.reduce((sum, each) => sum + each, 0) / places.length : index];
      }));
      layers[at].sort((a, b) => middle.get(a.id) - middle.get(b.id));
    }
  }
}
