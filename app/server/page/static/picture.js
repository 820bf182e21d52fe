// Draws the topology of a job: topics and stages as boxes, the ways of records as arrows.

import { element } from "./dom.js";
import { layered } from "./layout.js";

const SVG = "http://www.w3.org/2000/svg";
const BOX_HEIGHT = 52;
const GAP = 24;
const BETWEEN = 56;
const LETTER = 8;
const LETTERS_MAX = 34;
const KINDS = { source: "source topic", sink: "result topic", repartition: "repartition topic" };

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const kindOf = (node) => KINDS[node.kind] ?? (node.stateful ? "stage with state" : "stage");
const short = (text) => (text.length > LETTERS_MAX ? `${text.slice(0, LETTERS_MAX - 1)}…` : text);
const widthOf = (node) => (node.isPoint ? 12 : Math.max(short(node.id).length, kindOf(node).length) * LETTER + 24);

/** The picture, from left to right where that is not wider than told, and otherwise from top to bottom. */
export function pictureOf({ nodes, edges }, width) {
  const { layers, paths } = layered(nodes, edges);
  const across = placed(layers, false);
  const { boxes, size, down } = across.size.width <= width ? across : placed(layers, true);
  const drawn = svg("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}`, "aria-hidden": "true" }, arrow());
  for (const path of paths) drawn.append(svg("path", { class: "edge", d: curve(path, boxes, down), "marker-end": "url(#arrow)" }));
  for (const node of nodes) drawn.append(drawnBox(node, boxes.get(node.id)));
  const told = element("ul", "", { class: "unseen" });
  told.append(...edges.map(({ source, target }) => element("li", `Records go from ${source} to ${target}.`)));
  return [drawn, told];
}

/** Where each box is, and how large all is. */
function placed(layers, down) {
  const boxes = new Map();
  const depth = (node) => (down ? BOX_HEIGHT : widthOf(node));
  const breadth = (node) => (down ? widthOf(node) : BOX_HEIGHT);
  const breadths = layers.map((layer) => layer.reduce((sum, node) => sum + breadth(node) + GAP, -GAP));
  const broadest = Math.max(...breadths);
  let at = 2;
  for (const [index, layer] of layers.entries()) {
    const deepest = Math.max(...layer.map(depth));
    let beside = 2 + (broadest - breadths[index]) / 2;
    for (const node of layer) {
      const box = { main: at, cross: beside, depth: node.isPoint ? deepest : depth(node), breadth: breadth(node) };
      boxes.set(node.id, down
        ? { x: box.cross, y: box.main, width: box.breadth, height: box.depth }
        : { x: box.main, y: box.cross, width: box.depth, height: box.breadth });
      beside += breadth(node) + GAP;
    }
    at += deepest + BETWEEN;
  }
  const far = at - BETWEEN + 2;
  const size = down ? { width: broadest + 4, height: far } : { width: far, height: broadest + 4 };
  return { boxes, size, down };
}

/** From the end of each box to the beginning of the next, through the points between. */
function curve(path, boxes, down) {
  const out = (box) => (down ? [box.x + box.width / 2, box.y + box.height] : [box.x + box.width, box.y + box.height / 2]);
  const into = (box) => (down ? [box.x + box.width / 2, box.y] : [box.x, box.y + box.height / 2]);
  const parts = [`M ${out(boxes.get(path[0])).join(" ")}`];
  for (let index = 1; index < path.length; index += 1) {
    const [x, y] = out(boxes.get(path[index - 1]));
    const [toX, toY] = into(boxes.get(path[index]));
    const bend = down ? [x, (y + toY) / 2, toX, (y + toY) / 2] : [(x + toX) / 2, y, (x + toX) / 2, toY];
    parts.push(`C ${bend.join(" ")} ${toX} ${toY}`);
    if (index < path.length - 1) parts.push(`L ${out(boxes.get(path[index])).join(" ")}`);
  }
  return parts.join(" ");
}

function drawnBox(node, { x, y, width, height }) {
  const middle = x + width / 2;
  return svg("g", { class: `node ${node.kind}${node.stateful ? " stateful" : ""}` },
    svg("title", {}, node.id),
    svg("rect", { x, y, width, height, rx: node.kind === "stage" ? 6 : height / 2 }),
    svg("text", { x: middle, y: y + 22 }, short(node.id)),
    svg("text", { x: middle, y: y + 40, class: "kind" }, kindOf(node)));
}

function arrow() {
  const shape = { id: "arrow", viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 8, markerHeight: 8, orient: "auto" };
  return svg("defs", {}, svg("marker", shape, svg("path", { class: "tip", d: "M 0 1 L 10 5 L 0 9 z" })));
}
