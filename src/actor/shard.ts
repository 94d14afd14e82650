/**
 * The shard's runtime: one call at a time for each actor, its effect whole or not at all.
 *
 * Once its actor is in memory, a call looks at the kept replies, steps all monitors through its messages, runs the
 * handler's turns, and becomes one log entry; its reply leaves when that entry is durable (law 5). A turn may take its
 * time: until its entry is appended, the actor's next calls wait, and other actors go on. The next call then sees the
 * new state: should the entry fail, the log is ended and nothing that was built on it is ever answered. An answer that
 * only looked (a kept reply, a refusal that depends on state, a read that moved no monitor) waits for what it saw to be
 * durable, and for this node to be sure that no other one leads.
 *
 * A read that moved nothing has no entry, so nothing of it is kept. Its idempotency key is free again: sent again, it
 * is answered anew, with what is true then. Its nonce is remembered by this node while it lives: who has captured
 * the request may read once more from the node that leads next, within the request's 60 s.
 */
import type { ReadRecord } from "../cluster/records.ts";
import { isRefusal, late, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { IDEMPOTENCY_RETENTION_MS } from "../limits.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Residual, Violation } from "../protocol/inclusion.ts";
import type { Monitor, MonitorStates, MovedByAnother, Step } from "../protocol/monitor.ts";
import type { Actor } from "./actor.ts";
import type { Actors } from "./actors.ts";
import { type CaveatCount, countAll } from "./counts.ts";
import { BEHAVIOUR, Course, standingOf } from "./course.ts";
import { type Entry, encodeEntry, type MonitorRecord, replyOf } from "./entry.ts";
import { Mailboxes } from "./mailboxes.ts";
import { messagesFrom, type Position } from "./position.ts";
import { fullLedger, noRoom } from "./room.ts";
import { type Message, runWord, type Word } from "./word.ts";

export interface CaveatMonitor extends Monitor {
  readonly until_ms: number | undefined;
}

export interface Call {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly word: Word<Message>;
  /** SHA-256 of the module that runs its turns, hex; absent where none does. */
  readonly handler?: string;
  /** The word was sent as a batch: the answer is an array, with a reply for each message. */
  readonly batch: boolean;
  readonly signer: string;
  /** Public names of the token: of its root, which bounds its monitors, and of itself. */
  readonly token: { readonly root: string; readonly digest: string };
  /** Of its turns, ms since the epoch. */
  readonly now_ms: number;
  /** Monotonic: past it the call is not begun. */
  readonly deadline_ms: number;
  /** Whether it was revoked what the call came by: asked just before its turn, for which it may have waited. */
  readonly revoked: () => Refusal | undefined;
  /** The policy's behaviour; an actor that already lives under another keeps that one. */
  readonly behaviour: string;
  /** What the actor may become by the policy: expressions by name. */
  readonly become: ReadonlyMap<string, string>;
  readonly monitors: readonly CaveatMonitor[];
  /** What the token's `uses` and `rate` caveats count. */
  readonly counts: readonly CaveatCount[];
  /** Messages that the token allows at all; `undefined` where it does not say. */
  readonly messages: ReadonlySet<string> | undefined;
  readonly idempotency: { readonly key: string; readonly digest: string } | undefined;
  readonly nonce: { readonly key: string; readonly until_s: number };
}

/** What may be sent to an actor now? */
export interface Question extends Pick<Call, "tenant" | "actor" | "token" | "behaviour" | "monitors"> {
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
  /** Why nothing more is taken, where that is so: then this shard is over. */
  readonly ended: Refusal | undefined;
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

export interface ShardOptions {
  readonly actors: Actors;
  readonly log: EntryLog;
  readonly protocols: Protocols;
  /** Reads an actor that is not in memory. */
  readonly read: ReadRecord;
  /** Monotonic. */
  readonly now_ms: () => number;
}

/** What a call has come to, once its actor is free for the next: its answer leaves when all that it rests on is durable. */
type Due = () => Promise<Answer | Refusal>;

export class Shard {
  readonly #actors: Actors;
  readonly #log: EntryLog;
  readonly #protocols: Protocols;
  readonly #read: ReadRecord;
  readonly #now_ms: () => number;
  readonly #mailboxes = new Mailboxes();

  constructor({ actors, log, protocols, read, now_ms }: ShardOptions) {
    this.#actors = actors;
    this.#log = log;
    this.#protocols = protocols;
    this.#read = read;
    this.#now_ms = now_ms;
  }

  /** Actors in memory. */
  get count(): number {
    return this.#actors.count;
  }

  call(call: Call): Promise<Answer | Refusal> {
    const address = `${call.tenant}/${call.actor}`;
    return this.#withActor(address, (actor) => this.#inTurn(address, actor, call));
  }

  async #inTurn(address: string, actor: Actor, call: Call): Promise<Answer | Refusal> {
    const due = await this.#actors.keep(address, () =>
      this.#mailboxes.enter(address, () => this.#take(address, actor, call)),
    );
    return isRefusal(due) ? due : due();
  }

  /** Changes nothing. */
  describe({ tenant, actor: id, token, ...asked }: Question): Promise<Position | Refusal> {
    return this.#withActor(`${tenant}/${id}`, async (actor) => {
      const standing = standingOf(actor, asked.behaviour, this.#protocols);
      if (isRefusal(standing)) return standing;
      const states = statesOf(actor, token.root);
      const messages = messagesFrom([standing.monitor, ...asked.monitors], states, asked.names);
      return this.#after({ exists: actor.behaviour !== undefined, become: actor.behaviour?.name, messages });
    });
  }

  /** @param work is begun in the moment in which the actor is in memory for certain */
  #withActor<T>(address: string, work: (actor: Actor) => Promise<T | Refusal>): Promise<T | Refusal> {
    const actor = this.#actors.get(address);
    return actor === undefined ? this.#loaded(address, work) : work(actor);
  }

  async #loaded<T>(address: string, work: (actor: Actor) => Promise<T | Refusal>): Promise<T | Refusal> {
    for (;;) {
      const loaded = await this.#actors.load(address, this.#read);
      if (isRefusal(loaded)) return loaded;
      // Asked for again after each wait: in between it may have left memory.
      const actor = this.#actors.get(address);
      if (actor !== undefined) return work(actor);
    }
  }

  /** From here until its entry is appended the actor is this call's alone: nobody else changes it or sees it half changed. */
  async #take(address: string, actor: Actor, call: Call): Promise<Due | Refusal> {
    if (this.#log.ended !== undefined) return this.#log.ended;
    const refused = this.#now_ms() >= call.deadline_ms ? late() : call.revoked();
    if (refused !== undefined) return refused;
    const kept = keptReply(actor, call);
    if (kept !== undefined) return () => this.#after(kept);
    const effect = await this.#effect(actor, call);
    if (isRefusal(effect)) return () => this.#after(effect);
    if ("looked" in effect) return () => this.#after({ reply: effect.looked, kept: false });
    // While the turn ran, this node may have lost the shard or given it up. Nobody else may wait from here on.
    if (this.#log.ended !== undefined) return this.#log.ended;
    const entry: Entry = { v: 3, actor: address, ...effect.entry };
    const text = encodeEntry(entry, actor.state, effect.state);
    this.#actors.change(entry, effect.state);
    const appended = this.#log.append(text);
    return async () => (await appended) ?? { reply: replyOf(entry), kept: false };
  }

  /** An answer that only looked: it leaves when what it saw is durable and no other node can have gone further. */
  async #after<T>(answer: T | Refusal): Promise<T | Refusal> {
    return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;
  }

  /** The whole effect of a call, without applying any of it. */
  async #effect(actor: Actor, call: Call): Promise<Effect | Looked | Refusal> {
    const standing = standingOf(actor, call.behaviour, this.#protocols);
    if (isRefusal(standing)) return standing;
    const { root, digest } = call.token;
    const [protocols, states, others] = [this.#protocols, statesOf(actor, root), othersOf(actor, call)];
    const course = new Course({ call, protocols, standing, states, others });
    const refused = course.admit();
    if (refused !== undefined) return refused;
    const { steps } = course;
    const monitors = monitorRecords(steps, call.monitors);
    const counts = countAll(call, (id) => actor.counts.get(root, id)?.state);
    if (isRefusal(counts)) return counts;
    const reads = call.word.every((message) => message.reads);
    const looks = reads && counts.length === 0 && steps.every(({ from, to }) => from === to);
    const full = noRoom(actor, call, monitors, counts) ?? (looks ? undefined : fullLedger(actor, call));
    if (full !== undefined) return full;

    const ran = await runWord(call, actor.state, (index, { become }) => course.passed(index, become));
    if (isRefusal(ran)) return ran;
    const { now_ms, signer, handler, batch, idempotency, nonce } = call;
    const entry: Effect["entry"] = {
      at: now_ms,
      signer,
      token: [root, digest],
      ...(handler !== undefined && { handler }),
      turns: ran.turns,
      ...(batch && { batch }),
      behaviour: course.behaviour,
      monitors,
      ...(counts.length > 0 && { counts }),
      ...(idempotency && {
        kept: [idempotency.key, idempotency.digest, now_ms + IDEMPOTENCY_RETENTION_MS] as const,
      }),
      nonce: [nonce.key, nonce.until_s],
    };
    return looks ? { looked: replyOf(entry) } : { entry, state: ran.state };
  }
}

interface Effect {
  readonly entry: Omit<Entry, "v" | "actor">;
  readonly state: string | undefined;
}

/** The reply of a call that changes nothing at all, so there is nothing to write. */
interface Looked {
  readonly looked: Json;
}

function keptReply(actor: Actor, { idempotency, now_ms }: Call): Answer | Refusal | undefined {
  const kept = idempotency && actor.replies.get(idempotency.key);
  if (kept === undefined || kept.until_ms < now_ms) return undefined;
  return kept.digest === idempotency?.digest
    ? { reply: kept.reply, kept: true }
    : refuse("idempotency_mismatch", "this idempotency key was used with another message or other arguments");
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
