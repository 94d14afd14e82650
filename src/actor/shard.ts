/**
 * The shard's runtime: one call at a time for each actor, its effect whole or not at all.
 *
 * Once its actor is in memory, a call looks at the kept replies, steps all monitors through its messages, runs the
 * handler's turns, and becomes one log entry; its reply leaves when that entry is durable (law 5). The next call already sees the new
 * state: should the entry fail, the log is ended and nothing that was built on it is ever answered. An answer that
 * only looked (a kept reply, a refusal that depends on state) waits for what it saw to be durable, and for this node
 * to be sure that no other one leads.
 */
import type { ReadRecord } from "../cluster/records.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { IDEMPOTENCY_RETENTION_MS, MONITORS_PER_ACTOR_MAX } from "../limits.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Monitor, MonitorStates, Step } from "../protocol/monitor.ts";
import { type Actor, isOver } from "./actor.ts";
import type { Actors } from "./actors.ts";
import { type Entry, encodeEntry, type MonitorRecord, replyOf } from "./entry.ts";
import { messagesFrom, type Position } from "./position.ts";
import { type Message, runWord, stepWord, type Word } from "./word.ts";

export interface CaveatMonitor extends Monitor {
  readonly until_ms: number | undefined;
}

export interface Call {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly word: Word<Message>;
  /** The word was sent as a batch: the answer is an array, with a reply for each message. */
  readonly batch: boolean;
  readonly signer: string;
  readonly now_ms: number;
  /** The policy's behaviour; an actor that already lives under another keeps that one. */
  readonly behaviour: string;
  readonly monitors: readonly CaveatMonitor[];
  /** Messages that the token allows at all; `undefined` where it does not say. */
  readonly messages: ReadonlySet<string> | undefined;
  readonly idempotency: { readonly key: string; readonly digest: string } | undefined;
  readonly nonce: { readonly key: string; readonly until_s: number };
}

/** What may be sent to an actor now? */
export interface Question extends Pick<Call, "tenant" | "actor" | "behaviour" | "monitors"> {
  /** The messages that the actor knows and the token allows. */
  readonly names: readonly string[];
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

  call(call: Call): Promise<Answer | Refusal> {
    const address = `${call.tenant}/${call.actor}`;
    return this.#withActor(address, (actor) => this.#take(address, actor, call));
  }

  /** Changes nothing. */
  describe({ tenant, actor: id, behaviour, monitors, names }: Question): Promise<Position | Refusal> {
    return this.#withActor(`${tenant}/${id}`, async (actor) => {
      const first = this.#behaviour(actor, behaviour);
      if (isRefusal(first)) return first;
      const messages = messagesFrom([first.monitor, ...monitors], statesOf(actor), names);
      return this.#after({ exists: actor.behaviour !== undefined, messages });
    });
  }

  /** @param work is begun in the moment in which the actor is in memory for certain */
  async #withActor<T>(address: string, work: (actor: Actor) => Promise<T | Refusal>): Promise<T | Refusal> {
    let actor = this.#actors.get(address);
    // Asked for again after each wait: in between it may have left memory.
    while (actor === undefined) {
      const loaded = await this.#actors.load(address, this.#read);
      if (isRefusal(loaded)) return loaded;
      actor = this.#actors.get(address);
    }
    return work(actor);
  }

  /** Nothing waits before the append: that is what makes it one call at a time. */
  async #take(address: string, actor: Actor, call: Call): Promise<Answer | Refusal> {
    const kept = keptReply(actor, call);
    if (kept !== undefined) return this.#after(kept);
    const effect = this.#effect(actor, call);
    if (isRefusal(effect)) return this.#after(effect);
    const entry: Entry = { v: 3, actor: address, ...effect.entry };
    const text = encodeEntry(entry, actor.state, effect.state);
    this.#actors.change(entry, effect.state);
    const failed = await this.#log.append(text);
    return failed ?? { reply: replyOf(entry), kept: false };
  }

  /** An answer that only looked: it leaves when what it saw is durable and no other node can have gone further. */
  async #after<T>(answer: T | Refusal): Promise<T | Refusal> {
    return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;
  }

  /** The behaviour that the actor lives under, or would begin under. */
  #behaviour(actor: Actor, fresh: string): { expression: string; monitor: Monitor } | Refusal {
    const expression = actor.behaviour?.[0] ?? fresh;
    const automaton = this.#protocols.compile(expression);
    return isRefusal(automaton) ? automaton : { expression, monitor: { id: BEHAVIOUR, automaton } };
  }

  /** The whole effect of a call, without applying any of it. */
  #effect(actor: Actor, call: Call): Effect | Refusal {
    const full = fullLedger(actor, call);
    if (full !== undefined) return full;
    const first = this.#behaviour(actor, call.behaviour);
    if (isRefusal(first)) return first;

    const states = statesOf(actor);
    const steps = stepWord(this.#protocols, [first.monitor, ...call.monitors], states, call);
    if (isRefusal(steps)) return steps;
    const behaviour = steps.find(({ id }) => id === BEHAVIOUR)?.to ?? states(BEHAVIOUR);
    const monitors = monitorRecords(steps, call.monitors);
    if (crowded(actor, monitors, call.now_ms))
      return refuse("quota_exceeded", `the actor has ${MONITORS_PER_ACTOR_MAX} protocols in progress`);

    const ran = runWord(call, actor.state);
    if (isRefusal(ran)) return ran;
    const { now_ms, signer, batch, idempotency, nonce } = call;
    return {
      state: ran.state,
      entry: {
        at: now_ms,
        signer,
        turns: ran.turns,
        ...(batch && { batch }),
        behaviour: [first.expression, behaviour],
        monitors,
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

/** Anyone may attenuate new monitors into being, so their number is bounded, the expired ones not counted. */
function crowded(actor: Actor, records: readonly MonitorRecord[], now_ms: number): boolean {
  const added = records.filter(([id]) => !actor.monitors.has(id)).length;
  if (added === 0 || actor.monitors.size + added <= MONITORS_PER_ACTOR_MAX) return false;
  const left = [...actor.monitors.values()].filter(({ until_ms }) => !isOver(until_ms, now_ms)).length;
  return left + added > MONITORS_PER_ACTOR_MAX;
}
