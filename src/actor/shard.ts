/**
 * The shard's runtime: one call at a time for each actor, its effect whole or not at all.
 *
 * Once its actor is in memory, a call looks at the kept replies, steps all monitors, runs the handler's turn, and
 * becomes one log entry; its reply leaves when that entry is durable (law 5). The next call already sees the new
 * state: should the entry fail, the log is ended and nothing that was built on it is ever answered. An answer that
 * only looked (a kept reply, a refusal that depends on state) waits for what it saw to be durable, and for this node
 * to be sure that no other one leads.
 */
import type { ReadRecord } from "../cluster/records.ts";
import type { TurnResult as HandlerResult, Turn } from "../dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { COUNTS_PER_ACTOR_MAX, IDEMPOTENCY_RETENTION_MS, MONITORS_PER_ACTOR_MAX } from "../limits.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Monitor, MonitorStates, Step } from "../protocol/monitor.ts";
import { type Actor, isCrowded } from "./actor.ts";
import type { Actors } from "./actors.ts";
import { type CaveatCount, countAll } from "./counts.ts";
import { type Entry, encodeEntry, type MonitorRecord } from "./entry.ts";

/** What a turn leaves: its reply, and the new state as JSON text where it changed. */
type TurnResult = Pick<HandlerResult, "reply" | "state">;

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
  readonly now_ms: number;
  readonly seed: string;
  /** The policy's behaviour; an actor that already lives under another keeps that one. */
  readonly behaviour: string;
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
  ): readonly Step[] | Refusal;
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
    const entry: Entry = { v: 2, actor: address, ...effect.entry };
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
    const full = fullLedger(actor, call);
    if (full !== undefined) return full;
    const expression = actor.behaviour?.[0] ?? call.behaviour;
    const automaton = this.#protocols.compile(expression);
    if (isRefusal(automaton)) return automaton;

    const states = statesOf(actor);
    const all = [{ id: BEHAVIOUR, automaton }, ...call.monitors];
    const steps = this.#protocols.step(all, states, call.message, call.messages);
    if (isRefusal(steps)) return steps;
    const behaviour = steps.find(({ id }) => id === BEHAVIOUR)?.to ?? states(BEHAVIOUR);
    const monitors = monitorRecords(steps, call.monitors);
    if (isCrowded(actor.monitors, monitors, MONITORS_PER_ACTOR_MAX, call.now_ms))
      return refuse("quota_exceeded", `the actor has ${MONITORS_PER_ACTOR_MAX} protocols in progress`);
    const counts = countAll(call.counts, (id) => actor.counts.get(id)?.state, call.now_ms);
    if (isRefusal(counts)) return counts;
    if (isCrowded(actor.counts, counts, COUNTS_PER_ACTOR_MAX, call.now_ms))
      return refuse("quota_exceeded", `the actor counts for ${COUNTS_PER_ACTOR_MAX} caveats already`);

    const { message, args, now_ms, seed, signer, idempotency, nonce } = call;
    const turn = call.run({ state: actor.state, message, args, now_ms, seed, actor: call.actor });
    if (isRefusal(turn)) return turn;
    const state = turn.state === actor.state ? undefined : turn.state;
    if (call.reads && state !== undefined)
      return refuse(
        "handler_invalid",
        `${message} is declared to read only, but the handler changed the state`,
      );
    return {
      state,
      entry: {
        message,
        args,
        at: now_ms,
        seed,
        signer,
        behaviour: [expression, behaviour],
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
}

function keptReply(actor: Actor, { idempotency, now_ms }: Call): Answer | Refusal | undefined {
  const kept = idempotency && actor.replies.get(idempotency.key);
  if (kept === undefined || kept.until_ms < now_ms) return undefined;
  return kept.digest === idempotency?.digest
    ? { reply: kept.reply, kept: true }
    : refuse("idempotency_mismatch", "this idempotency key was used with another message or other arguments");
}

function fullLedger(actor: Actor, { idempotency, now_ms }: Call): Refusal | undefined {
  if (idempotency === undefined || !actor.replies.isFull(now_ms)) return undefined;
  return refuse("quota_exceeded", "the actor keeps as many replies for retries as it may; some expire soon", {
    retry_after_ms: 60_000,
  });
}

function statesOf(actor: Actor): MonitorStates {
  return (id) => (id === BEHAVIOUR ? (actor.behaviour?.[1] ?? 0) : (actor.monitors.get(id)?.state ?? 0));
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
