/**
 * The shard's runtime: one call at a time for each actor, its effect whole or not at all.
 *
 * Once its actor is in memory, a call looks at the kept replies, steps all monitors, runs the handler's turn, and
 * becomes one log entry; its reply leaves when that entry is durable (law 5). The next call already sees the new
 * state: should the entry fail, the log is ended and nothing that was built on it is ever answered. An answer that
 * only looked (a kept reply, a refusal that depends on state, a read that moved no monitor) waits for what it saw to be
 * durable, and for this node to be sure that no other one leads.
 *
 * A read that moved nothing has no entry, so nothing of it is kept. Its idempotency key is free again: sent again, it
 * is answered anew, with what is true then. Its nonce is remembered by this node while it lives: who has captured
 * the request may read once more from the node that leads next, within the request's 60 s.
 */
import type { ReadRecord } from "../cluster/records.ts";
import type { TurnResult as HandlerResult, Turn } from "../dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import {
  COUNTS_PER_ACTOR_MAX,
  COUNTS_PER_ROOT_MAX,
  IDEMPOTENCY_RETENTION_MS,
  MONITORS_PER_ACTOR_MAX,
  MONITORS_PER_ROOT_MAX,
} from "../limits.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Residual, Violation } from "../protocol/inclusion.ts";
import type { Monitor, MonitorStates, MovedByAnother, Step } from "../protocol/monitor.ts";
import type { Actor } from "./actor.ts";
import type { Actors } from "./actors.ts";
import { goesOnUnder } from "./become.ts";
import { type CaveatCount, type CountRecord, countAll } from "./counts.ts";
import { type BehaviourRecord, type Entry, encodeEntry, type MonitorRecord } from "./entry.ts";
import { crowded } from "./per-root.ts";

/** What a turn leaves: its reply, the new state as JSON text where it changed, and what the actor becomes, if anything. */
type TurnResult = Pick<HandlerResult, "reply" | "state" | "become">;

export interface CaveatMonitor extends Monitor {
  readonly until_ms: number | undefined;
}

export interface Call {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly message: string;
  readonly args: Json;
  readonly signer: string;
  /** Public names of the token: of its root, which bounds its monitors, and of itself. */
  readonly token: { readonly root: string; readonly digest: string };
  readonly now_ms: number;
  readonly seed: string;
  /** The policy's behaviour; an actor that already lives under another keeps that one. */
  readonly behaviour: string;
  /** What the actor may become by the policy: expressions by name. */
  readonly become: ReadonlyMap<string, string>;
  readonly monitors: readonly CaveatMonitor[];
  /** What the token's `uses` and `rate` caveats count. */
  readonly counts: readonly CaveatCount[];
  /** Messages that the token allows at all; `undefined` where it does not say. */
  readonly messages: ReadonlySet<string> | undefined;
  /** The message is declared to change no state. */
  readonly reads: boolean;
  readonly idempotency: { readonly key: string; readonly digest: string } | undefined;
  readonly nonce: { readonly key: string; readonly until_s: number };
  readonly run: (turn: Turn) => TurnResult | Refusal;
}

export interface Answer {
  readonly reply: Json;
  /** The reply is the kept one of an earlier call with the same idempotency key. */
  readonly kept: boolean;
}

/** The shard's log, as far as the runtime needs it. */
export interface EntryLog {
  append(entry: string): Promise<Refusal | undefined>;
  /** Resolves when all that was appended before is settled. */
  settled(): Promise<Refusal | undefined>;
  /** Resolves when it is certain that this node still leads the shard: `undefined` where it does. */
  confirm(): Promise<Refusal | undefined>;
}

export interface Protocols {
  compile(expression: string): Automaton | Refusal;
  step(
    monitors: readonly Monitor[],
    states: MonitorStates,
    message: string,
    among?: ReadonlySet<string>,
    movedByAnother?: MovedByAnother,
  ): readonly Step[] | Refusal;
  widening(inner: Automaton, outer: Residual): Violation | Refusal | undefined;
}

const BEHAVIOUR = "behaviour";

export class Shard {
  readonly #actors: Actors;
  readonly #log: EntryLog;
  readonly #protocols: Protocols;
  readonly #read: ReadRecord;

  constructor(actors: Actors, log: EntryLog, protocols: Protocols, read: ReadRecord) {
    this.#actors = actors;
    this.#log = log;
    this.#protocols = protocols;
    this.#read = read;
  }

  /** Actors in memory. */
  get count(): number {
    return this.#actors.count;
  }

  async call(call: Call): Promise<Answer | Refusal> {
    const address = `${call.tenant}/${call.actor}`;
    let actor = this.#actors.get(address);
    // Asked for again after each wait: in between it may have left memory.
    while (actor === undefined) {
      const loaded = await this.#actors.load(address, this.#read);
      if (isRefusal(loaded)) return loaded;
      actor = this.#actors.get(address);
    }
    // From here to the append nothing waits: that is what makes it one call at a time.
    const kept = keptReply(actor, call);
    if (kept !== undefined) return this.#after(kept);

    const effect = this.#turn(actor, call);
    if (isRefusal(effect)) return this.#after(effect);
    if (effect.looked) return this.#after({ reply: effect.entry.reply, kept: false });
    const entry: Entry = { v: 3, actor: address, ...effect.entry };
    const text = encodeEntry(entry, actor.state, effect.state);
    this.#actors.change(entry, effect.state);
    const failed = await this.#log.append(text);
    return failed ?? { reply: entry.reply, kept: false };
  }

  /** An answer that only looked: it leaves when what it saw is durable and no other node can have gone further. */
  async #after(answer: Answer | Refusal): Promise<Answer | Refusal> {
    return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;
  }

  /** The whole effect of one message, without applying any of it. */
  #turn(actor: Actor, call: Call): Effect | Refusal {
    const expression = actor.behaviour?.expression ?? call.behaviour;
    const automaton = this.#protocols.compile(expression);
    if (isRefusal(automaton)) return automaton;

    const { root, digest } = call.token;
    const states = statesOf(actor, root);
    const name = actor.behaviour?.name;
    const all = [{ id: BEHAVIOUR, automaton, ...(name !== undefined && { name }) }, ...call.monitors];
    const steps = this.#protocols.step(all, states, call.message, call.messages, othersOf(actor, call));
    if (isRefusal(steps)) return steps;
    const behaviour = steps.find(({ id }) => id === BEHAVIOUR)?.to ?? states(BEHAVIOUR);
    const monitors = monitorRecords(steps, call.monitors);
    const counts = countAll(call.counts, (id) => actor.counts.get(root, id)?.state, call.now_ms);
    if (isRefusal(counts)) return counts;
    const looked = call.reads && counts.length === 0 && steps.every(({ from, to }) => from === to);
    const full = noRoom(actor, call, monitors, counts) ?? (looked ? undefined : fullLedger(actor, call));
    if (full !== undefined) return full;

    const { message, args, now_ms, seed, signer, idempotency, nonce } = call;
    const turn = call.run({ state: actor.state, message, args, now_ms, seed, actor: call.actor });
    if (isRefusal(turn)) return turn;
    const state = turn.state === actor.state ? undefined : turn.state;
    if (call.reads && state !== undefined)
      return refuse(
        "handler_invalid",
        `${message} is declared to read only, but the handler changed the state`,
      );
    const now: BehaviourRecord = name === undefined ? [expression, behaviour] : [expression, behaviour, name];
    const under = goesOnUnder(turn.become, call, now, this.#protocols);
    if (isRefusal(under)) return under;
    return {
      state,
      looked,
      entry: {
        message,
        args,
        at: now_ms,
        seed,
        signer,
        token: [root, digest],
        behaviour: under,
        monitors,
        ...(counts.length > 0 && { counts }),
        reply: turn.reply,
        ...(idempotency && {
          kept: [idempotency.key, idempotency.digest, now_ms + IDEMPOTENCY_RETENTION_MS] as const,
        }),
        nonce: [nonce.key, nonce.until_s],
      },
    };
  }
}

interface Effect {
  readonly entry: Omit<Entry, "v" | "actor">;
  readonly state: string | undefined;
  /** It changes nothing at all, so there is nothing to write. */
  readonly looked: boolean;
}

function keptReply(actor: Actor, { idempotency, now_ms }: Call): Answer | Refusal | undefined {
  const kept = idempotency && actor.replies.get(idempotency.key);
  if (kept === undefined || kept.until_ms < now_ms) return undefined;
  return kept.digest === idempotency?.digest
    ? { reply: kept.reply, kept: true }
    : refuse("idempotency_mismatch", "this idempotency key was used with another message or other arguments");
}

const PROTOCOLS = {
  perRoot: MONITORS_PER_ROOT_MAX,
  perActor: MONITORS_PER_ACTOR_MAX,
  what: "protocols in progress",
};
const COUNTS = {
  perRoot: COUNTS_PER_ROOT_MAX,
  perActor: COUNTS_PER_ACTOR_MAX,
  what: "uses and rates counted",
};

/** For the states that the call would leave for its caveats. */
function noRoom(
  actor: Actor,
  { token: { root }, now_ms }: Call,
  monitors: readonly MonitorRecord[],
  counts: readonly CountRecord[],
): Refusal | undefined {
  const begun = monitors.filter(([id, state]) => state !== 0 && actor.monitors.get(root, id) === undefined);
  const counted = counts.filter(([id]) => actor.counts.get(root, id) === undefined);
  return (
    crowded(actor.monitors, root, begun.length, PROTOCOLS, now_ms) ??
    crowded(actor.counts, root, counted.length, COUNTS, now_ms)
  );
}

function fullLedger(actor: Actor, { idempotency, now_ms }: Call): Refusal | undefined {
  if (idempotency === undefined || !actor.replies.isFull(now_ms)) return undefined;
  return refuse("quota_exceeded", "the actor keeps as many replies for retries as it may; some expire soon", {
    retry_after_ms: 60_000,
  });
}

function statesOf({ behaviour, monitors }: Actor, root: string): MonitorStates {
  return (id) => (id === BEHAVIOUR ? (behaviour?.state ?? 0) : (monitors.get(root, id)?.state ?? 0));
}

/** Copies of a token are the same token: nothing tells them apart. */
function othersOf({ behaviour, monitors }: Actor, { token: { root, digest } }: Call): MovedByAnother {
  return (id) => {
    const by = id === BEHAVIOUR ? behaviour?.by : monitors.get(root, id)?.by;
    return by === undefined ? undefined : by !== digest;
  };
}

/** The caveat monitors that moved: one that stays where it is needs no record. */
function monitorRecords(
  steps: readonly Step[],
  monitors: readonly CaveatMonitor[],
): readonly MonitorRecord[] {
  const until = new Map(monitors.map(({ id, until_ms }) => [id, until_ms ?? null]));
  return steps
    .filter(({ id, from, to }) => id !== BEHAVIOUR && from !== to)
    .map(({ id, to }) => [id, to, until.get(id) ?? null]);
}
