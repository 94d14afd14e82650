/**
 * A graph as SVG, from left to right, without a browser: text that any viewer draws, light or dark.
 *
 * A double ring is where the protocol may end, a filled state where it stands. The same graph gives the same bytes.
 * All text is escaped; nothing in it runs or loads anything.
 */
import type { Edge, Graph, State } from "./graph.ts";
import { type Item, type Layout, type Link, layOut, type Metrics } from "./layout.ts";
import { wrap } from "./words.ts";

/** All lengths are in pixels. */
const RADIUS = 19;
const RING = 4;
const LINE_HEIGHT = 15;
/** Of the monospaced font at 12 pixels: what it takes at most. */
const CHARACTER_WIDTH = 7.3;
const LABEL_CHARACTERS = 26;
/** Between a line and the text above it. */
const LIFT = 5;
/** Between two layers: room for a curve, and for an arrow's head. */
const LAYER_GAP = 26;
const LOOP_HEIGHT = 22;
/** How far from the middle of a state an edge meets it that leads back. */
const BACK_PORT = 9;
const MARGIN = 12;
const START_LENGTH = 26;

const STYLE = `
  .line, .state { fill: none; stroke: #57606a; stroke-width: 1.5 }
  .current { fill: #ddf4ff }
  .head { fill: #57606a }
  text { fill: #1f2328; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    .line, .state { stroke: #9198a1 } .current { fill: #0c2d6b } .head { fill: #9198a1 } text { fill: #f0f6fc }
  }`;

/** @param title what the picture shows, for those who do not see it */
export function drawSvg(graph: Graph, title: string): string {
  const layout = layOut(graph, METRICS);
  const columns = columnsOf(layout);
  const width = (columns.at(-1)?.end ?? 0) + MARGIN;
  const height = layout.breadth + 2 * MARGIN;
  const items = layout.layers.flat();
  const body = [
    startLine(items[0] as Item, columns),
    ...graph.edges.map((edge) => drawEdge(edge, layout, columns)),
    ...items.map((item) => drawItem(item, columns)),
  ];
  const size = `width="${number(width)}" height="${number(height)}" viewBox="0 0 ${number(width)} ${number(height)}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">`,
    `<path class="head" d="M0 0.5 8 4 0 7.5z"/></marker>`,
    ...body,
    "</svg>",
  ].join("\n");
}

const linesOf = (messages: readonly string[]): readonly string[] => wrap(messages, LABEL_CHARACTERS);

const METRICS: Metrics = {
  gap: 14,
  pass: { before: 4, after: 4 },
  label: ({ messages }) => ({ before: LIFT + LINE_HEIGHT * linesOf(messages).length, after: LIFT }),
  state: ({ loops }) => {
    const above = loops.length === 0 ? 0 : LOOP_HEIGHT + LIFT + LINE_HEIGHT * linesOf(loops).length;
    return { before: RADIUS + above, after: RADIUS };
  },
};

/** Where a layer begins and ends along the picture. */
interface Column {
  readonly start: number;
  readonly end: number;
}

function columnsOf({ layers }: Layout): readonly Column[] {
  const columns: Column[] = [];
  let start = MARGIN + START_LENGTH;
  for (const layer of layers) {
    const end = start + Math.max(...layer.map(lengthOf));
    columns.push({ start, end });
    start = end + LAYER_GAP;
  }
  return columns;
}

function lengthOf({ kind, state, edge }: Item): number {
  const lines = linesOf((kind === "label" ? edge?.messages : state?.loops) ?? []);
  const widest = Math.ceil(Math.max(0, ...lines.map(({ length }) => length)) * CHARACTER_WIDTH);
  return kind === "state" ? Math.max(2 * RADIUS, widest) : widest;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function middleOf(item: Item, columns: readonly Column[]): Point {
  const { start, end } = columns[item.layer] ?? { start: 0, end: 0 };
  return { x: (start + end) / 2, y: MARGIN + item.anchor };
}

function startLine(first: Item, columns: readonly Column[]): string {
  const { x, y } = middleOf(first, columns);
  return line([
    { x: x - RADIUS - START_LENGTH, y },
    { x: x - RADIUS, y },
  ]);
}

/** Level through each layer, a curve from one to the next; the arrow's head is where the edge leads. */
function drawEdge(edge: Edge, { links }: Layout, columns: readonly Column[]): string {
  const own = links.flat().filter((link) => link.edge === edge);
  const points = own.flatMap((link) => [
    portOf(link.upper, link, columns, "end"),
    portOf(link.lower, link, columns, "start"),
  ]);
  return line(own[0]?.back === true ? points.toReversed() : points);
}

/** Where a piece of an edge leaves the upper item, at its end, or meets the lower, at its start. */
function portOf(item: Item, { back }: Link, columns: readonly Column[], side: "start" | "end"): Point {
  const middle = middleOf(item, columns);
  if (item.kind !== "state") return { x: columns[item.layer]?.[side] ?? 0, y: middle.y };
  const lower = back ? BACK_PORT : 0;
  const reach = Math.sqrt(RADIUS ** 2 - lower ** 2);
  return { x: middle.x + (side === "end" ? reach : -reach), y: middle.y + lower };
}

function line([first, ...rest]: readonly Point[]): string {
  let path = first === undefined ? "" : `M${number(first.x)} ${number(first.y)}`;
  let from = first ?? { x: 0, y: 0 };
  for (const to of rest) {
    const middle = number((from.x + to.x) / 2);
    path +=
      from.y === to.y
        ? `H${number(to.x)}`
        : `C${middle} ${number(from.y)} ${middle} ${number(to.y)} ${number(to.x)} ${number(to.y)}`;
    from = to;
  }
  return `<path class="line" d="${path}" marker-end="url(#head)"/>`;
}

function drawItem(item: Item, columns: readonly Column[]): string {
  const middle = middleOf(item, columns);
  if (item.kind === "label") return text(linesOf(item.edge?.messages ?? []), middle.x, middle.y - LIFT);
  return item.state === undefined ? "" : drawState(item.state, middle);
}

function drawState(state: State, { x, y }: Point): string {
  const circle = (radius: number, more = ""): string =>
    `<circle class="state${more}" cx="${number(x)}" cy="${number(y)}" r="${radius}"/>`;
  const parts = [circle(RADIUS, state.current ? " current" : "")];
  if (state.accepting) parts.push(circle(RADIUS - RING));
  parts.push(text([String(state.number)], x, y + 4));
  if (state.loops.length > 0) {
    const [left, right, top] = [x - 8, x + 8, y - Math.sqrt(RADIUS ** 2 - 64)];
    const control = number(top - LOOP_HEIGHT - 4);
    const [from, to] = [`${number(left)} ${number(top)}`, `${number(right)} ${number(top)}`];
    const path = `M${from}C${number(left - 8)} ${control} ${number(right + 8)} ${control} ${to}`;
    parts.push(`<path class="line" d="${path}" marker-end="url(#head)"/>`);
    parts.push(text(linesOf(state.loops), x, y - RADIUS - LOOP_HEIGHT));
  }
  return parts.join("\n");
}

/** @param y the base line of the last line */
function text(lines: readonly string[], x: number, y: number): string {
  const first = y - LINE_HEIGHT * (lines.length - 1);
  return lines
    .map((content, index) => {
      const at = `x="${number(x)}" y="${number(first + LINE_HEIGHT * index)}"`;
      return `<text ${at}>${escaped(content)}</text>`;
    })
    .join("\n");
}

/** At most one decimal, and no sign of a zero. */
function number(value: number): string {
  return String(Math.round(value * 10) / 10 + 0);
}

function escaped(content: string): string {
  return content
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll(/\p{Cc}/gu, " ");
}
