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
import { isRefusal, late, type Refusal } from "../errors.ts";
import type { Json } from "../json.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Residual, Violation } from "../protocol/inclusion.ts";
import type { Monitor, MonitorStates, MovedByAnother, Step } from "../protocol/monitor.ts";
import type { Actor } from "./actor.ts";
import type { Actors } from "./actors.ts";
import type { Received, Vault } from "./capabilities.ts";
import type { CaveatCount } from "./counts.ts";
import { standingOf } from "./course.ts";
import { effectOf, keptAnswer } from "./effect.ts";
import { type Delivery, type Entry, encodeEntry } from "./entry.ts";
import { Mailboxes } from "./mailboxes.ts";
import { statesOf } from "./monitors.ts";
import type { Send } from "./outbox.ts";
import { messagesFrom, type Position } from "./position.ts";
import type { Message, Word } from "./word.ts";

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
  /** What came with the call; its handles in the arguments are counted from 0 over the whole word. */
  readonly received: readonly Received[];
  /** The call is a send of another actor, whose key that is, with its number. */
  readonly sender: { readonly key: string; readonly number: number } | undefined;
  readonly nonce: { readonly key: string; readonly until_s: number };
}

/** What may be sent to an actor now? */
export interface Question extends Pick<Call, "tenant" | "actor" | "token" | "behaviour" | "monitors"> {
  /** The messages that the actor knows and the token allows. */
  readonly names: readonly string[];
}

export interface Answer {
  /** As it goes to the caller: capabilities in it are bound to the key that signed the call. */
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
  readonly vault: Vault;
  /** Told of an actor with something new in its outbox. */
  readonly sent?: (address: string) => void;
  /** Monotonic. */
  readonly now_ms: () => number;
}

/** What a call has come to, once its actor is free for the next: its answer leaves when all that it rests on is durable. */
type Due = () => Promise<Answer | Refusal>;

export class Shard {
  readonly #actors: Actors;
  readonly #log: EntryLog;
  readonly #means: { readonly protocols: Protocols; readonly vault: Vault };
  readonly #read: ReadRecord;
  readonly #sent: (address: string) => void;
  readonly #now_ms: () => number;
  readonly #mailboxes = new Mailboxes();

  constructor({ actors, log, protocols, read, vault, sent = () => {}, now_ms }: ShardOptions) {
    this.#actors = actors;
    this.#log = log;
    this.#means = { protocols, vault };
    this.#read = read;
    this.#sent = sent;
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
      const standing = standingOf(actor, asked.behaviour, this.#means.protocols);
      if (isRefusal(standing)) return standing;
      const states = statesOf(actor, token.root);
      const messages = messagesFrom([standing.monitor, ...asked.monitors], states, asked.names);
      return this.#after({ exists: actor.behaviour !== undefined, become: actor.behaviour?.name, messages });
    });
  }

  /** Receivers that an actor's outbox has something for, `type/id`. */
  receivers(address: string): Promise<ReadonlySet<string> | Refusal> {
    return this.#withActor(address, async ({ outbox }) => outbox.receivers);
  }

  /** What is to be delivered to a receiver next, once it is durable that it was sent; `undefined` where nothing is. */
  nextSend(address: string, receiver: string): Promise<Send | Refusal | undefined> {
    return this.#withActor(address, async ({ outbox }) => {
      const send = outbox.next(receiver);
      return (await this.#log.settled()) ?? send;
    });
  }

  /** A send has had its final answer: it leaves the outbox. Resolves when that is durable. */
  delivered(address: string, at: number, delivered: Delivery["delivered"]): Promise<Refusal | undefined> {
    return this.#withActor(address, async ({ outbox }) => {
      if (this.#log.ended !== undefined) return this.#log.ended;
      if (!outbox.has(delivered[0])) return undefined;
      const delivery: Delivery = { v: 3, actor: address, at, delivered };
      this.#actors.change(delivery, undefined);
      return this.#log.append(JSON.stringify(delivery));
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
    const kept = keptAnswer({ ...this.#means, address, actor }, call);
    if (kept !== undefined) return () => this.#after(kept);
    const effect = await effectOf({ ...this.#means, address, actor }, call);
    if (isRefusal(effect)) return () => this.#after(effect);
    const { reply } = effect;
    if (effect.entry === undefined) return () => this.#after({ reply, kept: false });
    // While the turn ran, this node may have lost the shard or given it up. Nobody else may wait from here on.
    if (this.#log.ended !== undefined) return this.#log.ended;
    const entry: Entry = { v: 3, actor: address, ...effect.entry };
    const text = encodeEntry(entry, actor.state, effect.state);
    this.#actors.change(entry, effect.state);
    const appended = this.#log.append(text);
    if (entry.sends !== undefined) this.#sent(address);
    return async () => (await appended) ?? { reply, kept: false };
  }

  /** An answer that only looked: it leaves when what it saw is durable and no other node can have gone further. */
  async #after<T>(answer: T | Refusal): Promise<T | Refusal> {
    return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;
  }
}
