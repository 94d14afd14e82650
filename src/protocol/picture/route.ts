/**
 * The lines between two layers, as in the channels of a circuit board: each net gets a track of its own to run across
 * on, and no two nets ever lie on each other (Hashimoto and Stevens 1971, with the constraints of the ends).
 */
import type { Item, Link } from "./layout.ts";

/** What joins: all lines out of one port, or into one. */
export interface Net {
  /** Columns at which it leaves the gap. */
  readonly tops: readonly number[];
  readonly bottoms: readonly number[];
  /** Row within the tracks on which it runs across; anything where it is straight. */
  readonly track: number;
}

export interface Gap {
  readonly nets: readonly Net[];
  /** Rows for running across. */
  readonly tracks: number;
  /** Columns in which an arrow leads into a state above, and into one below. */
  readonly arrowsUp: readonly number[];
  readonly arrowsDown: readonly number[];
}

interface Wire {
  readonly tops: Set<number>;
  readonly bottoms: Set<number>;
}

/** @returns `undefined` where two nets would each have to run above the other. */
export function routeGap(links: readonly Link[], backPort: number): Gap | undefined {
  const wires = new Map<string, Wire>();
  const [arrowsUp, arrowsDown] = [new Set<number>(), new Set<number>()];
  for (const [index, { upper, lower, back }] of links.entries()) {
    const key = upper.kind === "state" || lower.kind === "state" ? portOf(upper, lower, back) : `${index}`;
    const wire = wires.get(key) ?? { tops: new Set(), bottoms: new Set() };
    wires.set(key, wire);
    const top = columnOf(upper, back, backPort);
    const bottom = columnOf(lower, back, backPort);
    wire.tops.add(top);
    wire.bottoms.add(bottom);
    if (back && upper.kind === "state") arrowsUp.add(top);
    if (!back && lower.kind === "state") arrowsDown.add(bottom);
  }
  const all = [...wires.values()];
  const bent = all.filter((wire) => !isStraight(wire));
  const tracks = assignTracks(bent);
  if (tracks === undefined) return undefined;
  const nets = all.map((wire) => ({
    tops: [...wire.tops],
    bottoms: [...wire.bottoms],
    track: tracks.get(wire) ?? 0,
  }));
  return {
    nets,
    tracks: bent.length === 0 ? 0 : Math.max(...tracks.values()) + 1,
    arrowsUp: [...arrowsUp],
    arrowsDown: [...arrowsDown],
  };
}

function portOf(upper: Item, lower: Item, back: boolean): string {
  const [side, state] = upper.kind === "state" ? ["u", upper.state] : ["l", lower.state];
  return `${side}${state?.number} ${back}`;
}

function columnOf(item: Item, back: boolean, backPort: number): number {
  return item.anchor + (back && item.kind === "state" ? backPort : 0);
}

function isStraight({ tops, bottoms }: Wire): boolean {
  return new Set([...tops, ...bottoms]).size === 1;
}

/** The first free track for each, from the left; below every net whose end it would otherwise run through. */
function assignTracks(wires: readonly Wire[]): ReadonlyMap<Wire, number> | undefined {
  const assigned = new Map<Wire, number>();
  const waiting = new Set([...wires].toSorted((a, b) => startOf(a) - startOf(b)));
  while (waiting.size > 0) {
    const next = [...waiting].find((wire) => ![...waiting].some((other) => isAbove(other, wire)));
    if (next === undefined) return undefined;
    waiting.delete(next);
    let track = 0;
    for (const [other, taken] of assigned) if (isAbove(other, next)) track = Math.max(track, taken + 1);
    while ([...assigned].some(([other, taken]) => taken === track && overlap(other, next))) track++;
    assigned.set(next, track);
  }
  return assigned;
}

/** They share a column, at the top of one and at the bottom of the other. */
function isAbove(upper: Wire, lower: Wire): boolean {
  return upper !== lower && [...upper.tops].some((column) => lower.bottoms.has(column));
}

function startOf({ tops, bottoms }: Wire): number {
  return Math.min(...tops, ...bottoms);
}

function overlap(a: Wire, b: Wire): boolean {
  const end = ({ tops, bottoms }: Wire) => Math.max(...tops, ...bottoms);
  return startOf(a) <= end(b) && startOf(b) <= end(a);
}
