/**
 * An actor type for tests: an account that remembers every turn that it took.
 *
 * Its handler is a function in place of a Wasm module; the rest (actors, shard, protocols) is the real thing. Each
 * turn carries the seed of its call into the state, so a state tells which calls took effect, in which order.
 */

import type { Actor, MonitorState } from "../../src/actor/actor.ts";
import { isOver } from "../../src/actor/per-root.ts";
import {
  type Call,
  type CaveatMonitor,
  type Protocols,
  Shard,
  type ShardOptions,
} from "../../src/actor/shard.ts";
import type { Message, TurnResult, Word } from "../../src/actor/word.ts";
import type { Turn } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import { type Automaton, compileProtocol } from "../../src/protocol/automaton.ts";
import { stepAll } from "../../src/protocol/monitor.ts";
import { findWidening } from "../../src/protocol/narrower.ts";
import { VAULT } from "../support/vault.ts";

export const BEHAVIOUR = "open ; (deposit | withdraw | balance)* ; close";
export const NOW_MS = 1_767_225_600_000;

export interface Account {
  readonly balance: number;
  /** Seed and message of each turn that took effect. */
  readonly turns: readonly (readonly [seed: string, message: string])[];
}

export const EMPTY: Account = { balance: 0, turns: [] };

export function account(state: string | undefined): Account {
  return state === undefined ? EMPTY : (JSON.parse(state) as Account);
}

/** A handler as tests write it: what its turns take of the bounds is the same for all. */
export type PlainRun = (turn: Turn) => PlainResult | Promise<PlainResult>;
type PlainResult = Pick<TurnResult, "reply" | "state" | "become" | "sends"> | Refusal;

export const TOOK = { fuel: 1, output_bytes: 100 };

export function metered(run: PlainRun): Message["run"] {
  return async (turn) => {
    const result = await run(turn);
    return isRefusal(result) ? result : { ...result, ...TOOK };
  };
}

const CHANGE: Readonly<Record<string, number>> = { deposit: 1, withdraw: -1 };

/** Refuses to go below zero; `balance` leaves the state alone. The reply says how many turns there were. */
export const run = ({ state, message, seed }: Turn): PlainResult => {
  const { balance, turns } = account(state);
  if (message === "balance") return { reply: { turns: turns.length, balance }, state: undefined };
  const next = balance + (CHANGE[message] ?? 0);
  if (next < 0) return refuse("handler_error", "the account is empty", { handler_code: "empty" });
  const after: Account = { balance: next, turns: [...turns, [seed, message]] };
  return { reply: { turns: after.turns.length, balance: next }, state: JSON.stringify(after) };
};

let calls = 0;

/** What a test may say about a call of one message. */
export type Given = Partial<Omit<Call, "word"> & Omit<Message, "run"> & { readonly run: PlainRun }>;

/** A call of `account/1` with everything that a test does not care about filled in. */
export function callOf(name: string, given: Given = {}): Call {
  const { args = {}, references = new Map(), seed = `c${++calls}`, ...rest } = given;
  const { reads = name === "balance", run: plain = run, ...call } = rest;
  const message = { name, args, references, seed, reads, run: metered(plain) };
  return batchOf([message], { batch: false, ...call });
}

/** The same for a batch. */
export function batchOf(word: Word<Message>, given: Partial<Call> = {}): Call {
  const [{ seed }] = word;
  return {
    tenant: "t",
    actor: "account/1",
    word,
    batch: true,
    signer: "ab".repeat(32),
    token: { root: "r", digest: "t" },
    now_ms: NOW_MS,
    deadline_ms: Number.POSITIVE_INFINITY,
    revoked: () => undefined,
    behaviour: BEHAVIOUR,
    become: new Map(),
    monitors: [],
    counts: [],
    messages: undefined,
    idempotency: undefined,
    received: [],
    sender: undefined,
    nonce: { key: `nonce-${seed}`, until_s: NOW_MS / 1000 + 90 },
    ...given,
  };
}

const automata = new Map<string, Automaton | Refusal>();

export const protocols: Protocols = {
  compile: (expression) => {
    const known = automata.get(expression) ?? compileProtocol(expression);
    automata.set(expression, known);
    return known;
  },
  step: stepAll,
  widening: findWidening,
};

/** As the server puts it together. No time passes, unless the test says so. */
export function shardOf(parts: Pick<ShardOptions, "actors" | "log" | "read"> & Partial<ShardOptions>): Shard {
  return new Shard({ protocols, vault: VAULT, now_ms: () => 0, ...parts });
}

export function compiled(expression: string): Automaton {
  const automaton = protocols.compile(expression);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

export function caveat(id: string, expression: string, until_ms?: number): CaveatMonitor {
  const text = `protocol = ${expression}`;
  return { id, automaton: compiled(expression), caveat: { index: 0, text }, until_ms };
}

export interface StoredMonitor {
  readonly root: string;
  readonly id: string;
  readonly monitor: MonitorState;
}

/** Those that are not over, in no order that matters. */
export function monitorsLeft({ monitors }: Actor, now_ms: number): readonly StoredMonitor[] {
  const all: StoredMonitor[] = [];
  for (const [root, own] of monitors)
    for (const [id, monitor] of own) if (!isOver(monitor.until_ms, now_ms)) all.push({ root, id, monitor });
  return all.toSorted((a, b) => a.root.localeCompare(b.root) || a.id.localeCompare(b.id));
}

/** The state of each monitor by its id. */
export function monitorsOf(actor: Actor): Record<string, number> {
  return Object.fromEntries(monitorsLeft(actor, 0).map(({ id, monitor }) => [id, monitor.state]));
}
