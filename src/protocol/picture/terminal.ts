/**
 * A graph as box-drawing characters, top down; a table where that would be too wide or too tangled to read.
 *
 * A double border is where the protocol may end, `▶` where it stands, `↺` what leaves it where it is. Lines of several
 * messages to one state join; lines that only cross do not touch: the upright one goes through.
 */
import { PICTURE_STATES_MAX } from "../../limits.ts";
import { Canvas } from "./canvas.ts";
import type { Edge, Graph, State } from "./graph.ts";
import { backEdges, type Item, type Layout, type Link, layOut, type Metrics } from "./layout.ts";
import { type Gap, routeGap } from "./route.ts";
import { drawTable } from "./table.ts";
import { wrap } from "./words.ts";

/** A label is broken after a message that passes this many columns. */
const LABEL_WIDTH = 24;
const BOX_HEIGHT = 3;
/** From the anchor of a box to where edges that lead back meet it. */
const BACK_PORT = 2;

/** @param width columns that no line may pass */
export function drawTerminal(graph: Graph, width: number): string {
  if (graph.states.length > PICTURE_STATES_MAX) return drawTable(graph, width);
  const layout = layOut(graph, metricsOf(graph));
  if (layout.breadth > width) return drawTable(graph, width);
  return drawLayout(layout) ?? drawTable(graph, width);
}

const centred = (width: number) => ({ before: Math.floor(width / 2), after: Math.ceil(width / 2) });

function metricsOf(graph: Graph): Metrics {
  // All boxes are as wide as the widest, so that they stand well under each other.
  const reach = graph.states.length > 10 || backEdges(graph).size > 0 ? 3 : 2;
  return {
    gap: 2,
    pass: centred(1),
    label: (edge) => centred(Math.max(...labelLines(edge).map(({ length }) => length))),
    state: (state) => {
      const loops = loopLines(state).map(({ length }) => length + 1);
      return { before: reach + (state.current ? 2 : 0), after: reach + 1 + Math.max(0, ...loops) };
    },
  };
}

const labelLines = (edge: Edge): readonly string[] => wrap(edge.messages, LABEL_WIDTH);

function loopLines({ loops }: State): readonly string[] {
  return wrap(loops, LABEL_WIDTH).map((line, index) => (index === 0 ? "↺ " : "  ") + line);
}

/** `undefined` where some lines cannot be kept apart. */
function drawLayout({ layers, links }: Layout): string | undefined {
  const canvas = new Canvas();
  const reach = Math.min(...layers.flat().filter(isBox).map(boxReach));
  let row = 0;
  for (const [index, layer] of layers.entries()) {
    const height = Math.max(...layer.map(heightOf));
    for (const item of layer) {
      if (item.kind === "pass") canvas.upright(item.anchor, row, height);
      if (item.kind === "label") drawLabel(canvas, item, row, height);
    }
    const boxRow = row + Math.floor((height - BOX_HEIGHT) / 2);
    for (const item of layer.filter(isBox)) {
      const ports = { above: links[index - 1] ?? [], below: links[index] ?? [] };
      drawBox(canvas, item, boxRow, reach, ports);
      canvas.upright(item.anchor + BACK_PORT, row, boxRow - row);
    }
    row += height;
    const gap = index < links.length ? routeGap(links[index] ?? [], BACK_PORT) : undefined;
    if (gap === undefined && index < links.length) return undefined;
    if (gap !== undefined) row += drawGap(canvas, gap, row);
  }
  return canvas.toString();
}

const isBox = (item: Item): item is Item & { readonly state: State } => item.state !== undefined;

/** Half of a box, without its anchor. */
function boxReach({ before, state }: Item & { readonly state: State }): number {
  return before - (state.current ? 2 : 0);
}

function heightOf(item: Item): number {
  if (item.kind === "label") return labelLines(item.edge as Edge).length;
  return item.state === undefined ? 1 : Math.max(BOX_HEIGHT, loopLines(item.state).length);
}

function drawLabel(canvas: Canvas, item: Item, row: number, height: number): void {
  const lines = labelLines(item.edge as Edge);
  for (const [index, line] of lines.entries())
    canvas.text(row + index, item.anchor - Math.floor(line.length / 2), line);
  canvas.upright(item.anchor, row + lines.length, height - lines.length);
}

interface Ports {
  readonly above: readonly Link[];
  readonly below: readonly Link[];
}

function drawBox(
  canvas: Canvas,
  item: Item & { readonly state: State },
  row: number,
  reach: number,
  { above, below }: Ports,
): void {
  const { state, anchor } = item;
  const left = anchor - reach;
  const [horizontal, upright, corners, out, back] = state.accepting
    ? ["═", "║", "╔╗╚╝", "╤", "╧"]
    : ["─", "│", "┌┐└┘", "┬", "┴"];
  const border = horizontal.repeat(2 * reach - 1);
  canvas.text(row, left, `${corners[0]}${border}${corners[1]}`);
  const number = String(state.number);
  const pad = reach - Math.ceil(number.length / 2);
  canvas.text(row + 1, left, `${upright}${(" ".repeat(pad) + number).padEnd(2 * reach - 1)}${upright}`);
  canvas.text(row + 2, left, `${corners[2]}${border}${corners[3]}`);
  if (below.some(({ upper, back: isBack }) => upper === item && !isBack)) canvas.text(row + 2, anchor, out);
  if (above.some(({ lower, back: isBack }) => lower === item && isBack))
    canvas.text(row, anchor + BACK_PORT, back);
  if (state.current) canvas.text(row + 1, left - 2, "▶");
  const loops = loopLines(state);
  const first = row + 1 - Math.floor(loops.length / 2);
  for (const [index, line] of loops.entries()) canvas.text(first + index, anchor + reach + 2, line);
}

/** @returns its height in rows. */
function drawGap(canvas: Canvas, { nets, tracks, arrowsUp, arrowsDown }: Gap, top: number): number {
  const first = top + (arrowsUp.length > 0 ? 1 : 0);
  const plain = tracks === 0 && arrowsUp.length === 0 && arrowsDown.length === 0 ? 1 : 0;
  const height = first - top + tracks + plain + (arrowsDown.length > 0 ? 1 : 0);
  for (const net of nets) canvas.net(net, top, first + net.track, height);
  for (const column of arrowsUp) canvas.text(top, column, "▲");
  for (const column of arrowsDown) canvas.text(top + height - 1, column, "▼");
  return height;
}
