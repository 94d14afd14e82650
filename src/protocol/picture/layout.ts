/**
 * A layered layout for small graphs (Sugiyama, Tagawa, Toda 1981): which state is in which layer, and where in it.
 *
 * Layers run along the reading direction, items of one layer lie across it. Every second layer is for labels, so that
 * a label never meets a line. Edges that lead back are laid like edges that lead on, and keep their direction.
 * The same graph and the same metrics give the same layout: nothing is random, and ties go by number.
 */
import type { Edge, Graph, State } from "./graph.ts";

/** A thing with a place across its layer: its anchor, where lines meet it. */
export interface Item {
  readonly kind: "state" | "label" | "pass";
  /** The state; for the others, the edge that they lie on. */
  readonly state?: State;
  readonly edge?: Edge;
  readonly layer: number;
  /** How far it reaches from its anchor, both ways across. */
  readonly before: number;
  readonly after: number;
  anchor: number;
}

/** One piece of an edge, from a layer to the next. */
export interface Link {
  readonly upper: Item;
  readonly lower: Item;
  readonly edge: Edge;
  /** The edge leads from the lower layers to the upper ones. */
  readonly back: boolean;
}

export interface Layout {
  /** Even layers hold states, odd ones labels; both hold what passes through. Items in order across. */
  readonly layers: readonly (readonly Item[])[];
  /** `links[n]` lie between layers n and n + 1. */
  readonly links: readonly (readonly Link[])[];
  /** From the first item's beginning, at 0, to the end of the last. */
  readonly breadth: number;
}

type Reach = Pick<Item, "before" | "after">;

/** Whole numbers keep all anchors whole. */
export interface Metrics {
  state(state: State): Reach;
  label(edge: Edge): Reach;
  readonly pass: Reach;
  /** Between items of one layer. */
  readonly gap: number;
}

/** Sweeps over all layers, there and back, for the order and for the places: more do not change small graphs. */
const SWEEPS = 12;

export function layOut(graph: Graph, metrics: Metrics): Layout {
  const back = backEdges(graph);
  const ranks = rankStates(graph, back);
  const layers: Item[][] = Array.from({ length: 2 * Math.max(...ranks) + 1 }, () => []);
  const links: Link[][] = layers.slice(1).map(() => []);
  const add = (item: Omit<Item, "anchor">): Item => {
    const placed = { ...item, anchor: 0 };
    layers[item.layer]?.push(placed);
    return placed;
  };
  const states = graph.states.map((state) =>
    add({ kind: "state", state, layer: 2 * (ranks[state.number] ?? 0), ...metrics.state(state) }),
  );
  for (const edge of graph.edges) {
    const isBack = back.has(edge);
    const [from, to] = isBack ? [edge.to, edge.from] : [edge.from, edge.to];
    const [first, last] = [2 * (ranks[from] ?? 0) + 1, 2 * (ranks[to] ?? 0) - 1];
    const labelled = isBack ? last : first;
    let upper = states[from] as Item;
    for (let layer = first; layer <= last; layer++) {
      const lower = add(
        layer === labelled
          ? { kind: "label", edge, layer, ...metrics.label(edge) }
          : { kind: "pass", edge, layer, ...metrics.pass },
      );
      links[layer - 1]?.push({ upper, lower, edge, back: isBack });
      upper = lower;
    }
    links[last]?.push({ upper, lower: states[to] as Item, edge, back: isBack });
  }
  order(layers, links);
  return { layers, links, breadth: place(layers, links, metrics.gap) };
}

/** The edges that close a cycle, in a walk in depth from the start. */
export function backEdges({ states, edges }: Graph): ReadonlySet<Edge> {
  const leaving = states.map(({ number }) => edges.filter(({ from }) => from === number));
  const found = new Set<Edge>();
  const done = new Set<number>();
  // The way from the start to where the walk is, with the edges not yet tried at each state.
  const way: { readonly state: number; readonly rest: Edge[] }[] = [
    { state: 0, rest: [...(leaving[0] ?? [])] },
  ];
  for (let at = way.at(-1); at !== undefined; at = way.at(-1)) {
    const edge = at.rest.shift();
    if (edge === undefined) {
      done.add(at.state);
      way.pop();
    } else if (way.some(({ state }) => state === edge.to)) found.add(edge);
    else if (!done.has(edge.to)) way.push({ state: edge.to, rest: [...(leaving[edge.to] ?? [])] });
  }
  return found;
}

/** The longest way from the start, without the edges that lead back. */
function rankStates({ states, edges }: Graph, back: ReadonlySet<Edge>): readonly number[] {
  const ranks = states.map(() => 0);
  const forward = edges.filter((edge) => !back.has(edge));
  for (let changed = true; changed; ) {
    changed = false;
    for (const { from, to } of forward) {
      const least = (ranks[from] ?? 0) + 1;
      if ((ranks[to] ?? 0) >= least) continue;
      ranks[to] = least;
      changed = true;
    }
  }
  return ranks;
}

/** Sorts each layer by the middle of what its items are linked to, and keeps the order with the fewest crossings. */
function order(layers: Item[][], links: readonly (readonly Link[])[]): void {
  let best = layers.map((layer) => [...layer]);
  let fewest = crossings(layers, links);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep++) {
    const down = sweep % 2 === 0;
    for (let step = 1; step < layers.length; step++) {
      const layer = down ? step : layers.length - 1 - step;
      const fixed = indexes(layers[down ? layer - 1 : layer + 1] ?? []);
      const between = links[down ? layer - 1 : layer] ?? [];
      const middle = new Map<Item, number>();
      for (const item of layers[layer] ?? []) {
        const others = between
          .filter(({ upper, lower }) => item === (down ? lower : upper))
          .map((link) => portIndex(fixed, down ? link.upper : link.lower, link));
        middle.set(item, mean(others) ?? indexes(layers[layer] ?? []).get(item) ?? 0);
      }
      layers[layer]?.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0));
    }
    const count = crossings(layers, links);
    if (count >= fewest) continue;
    fewest = count;
    best = layers.map((layer) => [...layer]);
  }
  layers.splice(0, layers.length, ...best);
}

function crossings(layers: readonly (readonly Item[])[], links: readonly (readonly Link[])[]): number {
  let count = 0;
  for (const [layer, between] of links.entries()) {
    const [uppers, lowers] = [indexes(layers[layer] ?? []), indexes(layers[layer + 1] ?? [])];
    const ends = between.map(
      (link) => [portIndex(uppers, link.upper, link), portIndex(lowers, link.lower, link)] as const,
    );
    for (const [index, [upper, lower]] of ends.entries())
      for (const [otherUpper, otherLower] of ends.slice(index + 1))
        if ((upper - otherUpper) * (lower - otherLower) < 0) count++;
  }
  return count;
}

/** Moves items to the middle of what they are linked to, as far as their neighbours let them. @returns the breadth */
function place(
  layers: readonly (readonly Item[])[],
  links: readonly (readonly Link[])[],
  gap: number,
): number {
  for (const layer of layers) settle(layer, gap, () => 0);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    // Downwards in the end: then what lies under one thing alone lies straight under it.
    const down = sweep % 2 === 1;
    for (let step = 1; step < layers.length; step++) {
      const layer = down ? step : layers.length - 1 - step;
      const between = links[down ? layer - 1 : layer] ?? [];
      settle(layers[layer] ?? [], gap, (item) => {
        const others = between.filter(({ upper, lower }) => item === (down ? lower : upper));
        return mean(others.map(({ upper, lower }) => (down ? upper : lower).anchor)) ?? item.anchor;
      });
    }
  }
  const items = layers.flat();
  const start = Math.min(...items.map(({ anchor, before }) => anchor - before));
  for (const item of items) item.anchor -= start;
  return Math.max(...items.map(({ anchor, after }) => anchor + after));
}

/**
 * Least squares under the distances that must be kept: an isotonic regression, by pooling adjacent violators.
 * Lines that pass weigh more, so that they are straight.
 */
function settle(layer: readonly Item[], gap: number, wished: (item: Item) => number): void {
  const pools: { sum: number; weight: number; items: Item[] }[] = [];
  const offsets = new Map<Item, number>();
  let offset = 0;
  for (const [index, item] of layer.entries()) {
    const previous = layer[index - 1];
    if (previous !== undefined) offset += previous.after + gap + item.before;
    offsets.set(item, offset);
    const weight = item.kind === "pass" ? 4 : 1;
    let pool = { sum: weight * (wished(item) - offset), weight, items: [item] };
    for (let last = pools.at(-1); last !== undefined; last = pools.at(-1)) {
      if (last.sum / last.weight <= pool.sum / pool.weight) break;
      pools.pop();
      pool = {
        sum: last.sum + pool.sum,
        weight: last.weight + pool.weight,
        items: [...last.items, ...pool.items],
      };
    }
    pools.push(pool);
  }
  for (const { sum, weight, items } of pools)
    for (const item of items) item.anchor = Math.round(sum / weight) + (offsets.get(item) ?? 0);
}

/** Edges that lead back meet a state behind those that lead on. */
function portIndex(places: ReadonlyMap<Item, number>, item: Item, { back }: Link): number {
  return (places.get(item) ?? 0) + (back && item.kind === "state" ? 0.5 : 0);
}

function indexes(items: readonly Item[]): ReadonlyMap<Item, number> {
  return new Map(items.map((item, index) => [item, index]));
}

function mean(numbers: readonly number[]): number | undefined {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
