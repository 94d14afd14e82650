/**
 * What may be sent under some protocols, compared with what others admit: split, restrict, and one policy's
 * protocol within its behaviour.
 *
 * The question is asked on prefix closures, because that is what a gate enforces: may every sequence of messages in
 * which each part follows its own protocol be sent under all the outer ones? Where it may not, the answer is a
 * shortest sequence that may not, and of these the first in the order of the parts and the alphabet. Parts that
 * pass never refuse each other: no message that one of them admits is ever refused by what is around (Gordon 2025).
 *
 * There is no join, the inverse of a split, and none is needed: a token can only be narrowed (law 2), so two halves
 * never become a whole again. Whoever kept the token that was split still has the whole.
 */
import { type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_INCLUSION_WORK_MAX } from "../limits.ts";
import type { Automaton } from "./automaton.ts";
import { Budget } from "./budget.ts";

/** A protocol in progress. */
export interface Residual {
  readonly automaton: Automaton;
  readonly state: number;
}

/** The rest of a protocol from its start. */
export function fresh(automaton: Automaton): Residual {
  return { automaton, state: 0 };
}

/** What a set of messages in any order admits: a protocol of one state, however many messages there are. */
export function anyOrder(messages: ReadonlySet<string>): Residual {
  const alphabet = [...messages].toSorted();
  return fresh({
    alphabet,
    stateCount: 1,
    sizeBytes: 0,
    next: (state, message) => (state === 0 && messages.has(message) ? 0 : undefined),
    enabled: (state) => (state === 0 ? alphabet : []),
    accepting: (state) => state === 0,
  });
}

/** @returns what remains after a word, or `undefined` where the word is not admitted. */
export function residual(automaton: Automaton, word: readonly string[]): Residual | undefined {
  let state = 0;
  for (const message of word) {
    const next = automaton.next(state, message);
    if (next === undefined) return undefined;
    state = next;
  }
  return { automaton, state };
}

export interface Sent {
  readonly message: string;
  /** Index of the part that sends it. */
  readonly part: number;
}

export interface Violation {
  /** A shortest one; its last message is the one that is not admitted. */
  readonly word: readonly Sent[];
  /** Index of the first of the outer protocols that does not admit it, and what it admits there instead. */
  readonly by: number;
  readonly enabled: readonly string[];
}

/**
 * @param parts whose interleavings are asked about; one part is itself
 * @param within the protocols that must all admit them
 * @returns `undefined` where all are admitted; `malformed_request` where that takes too long to find out
 */
export function findViolation(
  parts: readonly Residual[],
  within: readonly Residual[],
  budget = new Budget(PROTOCOL_INCLUSION_WORK_MAX),
): Violation | Refusal | undefined {
  const start: Point = {
    parts: parts.map(({ state }) => state),
    within: within.map(({ state }) => state),
  };
  const seen = new Set([keyOf(start)]);
  const queue = [start];
  // Breadth first: the first violation found is a shortest one.
  for (const point of queue) {
    for (const [index, { automaton }] of parts.entries()) {
      for (const message of automaton.enabled(point.parts[index] ?? -1)) {
        if (!budget.spend(parts.length + within.length)) return tooLarge();
        const sent = { message, part: index };
        const outer = step(within, point.within, message);
        if (typeof outer === "number") return violation(point, sent, outer, within);
        const to = automaton.next(point.parts[index] ?? -1, message) ?? -1;
        const next: Point = { parts: point.parts.with(index, to), within: outer, before: point, sent };
        const key = keyOf(next);
        if (seen.has(key)) continue;
        if (!budget.spend(POINT_WORK)) return tooLarge();
        seen.add(key);
        queue.push(next);
      }
    }
  }
  return undefined;
}

/** A point is kept until the end, which weighs more than a look at a transition: at most 500,000 are. */
const POINT_WORK = 16;

/** Where all protocols stand, and how they came there. */
interface Point {
  readonly parts: readonly number[];
  readonly within: readonly number[];
  readonly before?: Point;
  readonly sent?: Sent;
}

function keyOf({ parts, within }: Point): string {
  return `${parts.join()};${within.join()}`;
}

/** @returns the next states, or the index of the first protocol that does not admit the message. */
function step(
  within: readonly Residual[],
  states: readonly number[],
  message: string,
): readonly number[] | number {
  const next: number[] = [];
  for (const [index, { automaton }] of within.entries()) {
    const to = automaton.next(states[index] ?? -1, message);
    if (to === undefined) return index;
    next.push(to);
  }
  return next;
}

function violation(at: Point, last: Sent, by: number, within: readonly Residual[]): Violation {
  const word = [last];
  for (let point: Point | undefined = at; point?.sent !== undefined; point = point.before)
    word.unshift(point.sent);
  return { word, by, enabled: within[by]?.automaton.enabled(at.within[by] ?? -1) ?? [] };
}

function tooLarge(): Refusal {
  const advice = "give the parts fewer states, or split in several steps";
  return refuse(
    "malformed_request",
    `the protocols take more than ${PROTOCOL_INCLUSION_WORK_MAX} steps to compare: ${advice}`,
  );
}
