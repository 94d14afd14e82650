/**
 * The actors of a simulation, and a model of a few lines that says what they must have done.
 *
 * An actor counts its turns. `add` and `take` are turns; under the caveat `ordered` they must alternate. Any message may
 * be declined by the handler, which then says what it saw: an answer that only looked, and moved nothing. So every
 * answer names a version, and the versions tell whether the history is one that could have happened one call at a time.
 *
 * A turn may send `add` to other actors. Each send that is durable must take effect once, in the order of those from its
 * sender to its receiver, and only then be on record as delivered.
 */
import { type Delivery, decodeLine, isDelivery, type ParsedEntry } from "../../../src/actor/entry.ts";
import type { Send } from "../../../src/actor/outbox.ts";
import type { Answer, Call, CaveatMonitor, Protocols } from "../../../src/actor/shard.ts";
import type { TurnResult } from "../../../src/actor/word.ts";
import type { Turn } from "../../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "../../../src/errors.ts";
import { capOf } from "../../../src/handles.ts";
import { type Automaton, compileProtocol } from "../../../src/protocol/automaton.ts";
import { stepAll } from "../../../src/protocol/monitor.ts";
import { findWidening } from "../../../src/protocol/narrower.ts";

export type Message = "add" | "take";

/** A logical call: sent again under the same key, if it has one, until it is answered. */
export interface Operation {
  readonly id: string;
  readonly shard: number;
  /** `type/id` */
  readonly actor: string;
  readonly message: Message;
  readonly ordered: boolean;
  readonly declined: boolean;
  readonly keyed: boolean;
  /** The actors that the turn sends `add` to. */
  readonly sends: readonly string[];
  /** It is a send itself. */
  readonly sender?: { readonly key: string; readonly number: number };
  attempts: number;
}

/** What an actor's state says. */
export interface Version {
  /** Turns until now. */
  readonly n: number;
  /** The attempt that took the last one. */
  readonly last: string;
}

const TENANT = "t";
const BEHAVIOUR = "(add | take)*";
const ORDERED = "(add ; take)*";
/** Nonces outlive every simulation, so that all of them must be remembered. */
const NONCE_LIFE_S = 10_000_000;

function compiled(expression: string): Automaton {
  const automaton = compileProtocol(expression);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

const automata = new Map([BEHAVIOUR, ORDERED].map((text) => [text, compiled(text)]));
export const protocols: Protocols = {
  compile: (text) => automata.get(text) ?? refuse("caveat_denied", `nobody uses the protocol ${text}`),
  step: stepAll,
  widening: findWidening,
};
const ordered: CaveatMonitor = {
  id: "ordered",
  automaton: compiled(ORDERED),
  caveat: { index: 0, text: `protocol = ${ORDERED}` },
  until_ms: undefined,
};

export const addressOf = (actor: string): string => `${TENANT}/${actor}`;

export function versionOf(state: string | undefined): Version {
  return state === undefined ? { n: 0, last: "" } : (JSON.parse(state) as Version);
}

export interface CallOptions {
  /** ms since the epoch. */
  readonly now_ms: number;
  readonly deadline_ms: number;
  /** Makes the states larger, so that they fill pages. */
  readonly padding: string;
  /** The turn takes its time. */
  readonly work: () => Promise<void>;
}

export function callOf(
  operation: Operation,
  attempt: string,
  { now_ms, deadline_ms, padding, work }: CallOptions,
): Call {
  const { id, actor, message, keyed, declined, sends, sender } = operation;
  const run = async ({ state, seed, caps = [] }: Turn): Promise<TurnResult | Refusal> => {
    await work();
    const { n, last } = versionOf(state);
    if (declined) return refuse("handler_error", JSON.stringify({ n, last }));
    const after = JSON.stringify({ n: n + 1, last: seed, padding });
    const sent = sends.map((to) => ({ to: caps[0]?.id ?? -1, actor: to, message: "add", args: {} }));
    const more = sent.length > 0 && { sends: sent };
    return { reply: { n: n + 1 }, state: after, ...more, fuel: 1, output_bytes: after.length };
  };
  return {
    tenant: TENANT,
    actor,
    word: [
      {
        name: message,
        args: sends.length > 0 ? capOf(0) : {},
        references: new Map(),
        seed: attempt,
        reads: false,
        run,
      },
    ],
    batch: false,
    signer: "somebody",
    token: { root: "root", digest: "token" },
    now_ms,
    deadline_ms,
    revoked: () => undefined,
    behaviour: BEHAVIOUR,
    become: new Map(),
    monitors: operation.ordered ? [ordered] : [],
    counts: [],
    messages: undefined,
    received: sends.length > 0 ? [{ token: "token", note: { actor: "counter/*" } }] : [],
    sender,
    idempotency: keyed ? { key: id, digest: message } : undefined,
    nonce: { key: attempt, until_s: Math.floor(now_ms / 1000) + NONCE_LIFE_S },
  };
}

/** What one actor has done as far as it is durable. */
export class Account {
  /** The attempt of each turn. */
  readonly turns: string[] = [];
  /** The state of the caveat's monitor after each turn, and before the first: the next `ordered` message. */
  readonly expects: Message[] = ["add"];
  /** The turn of each idempotency key. */
  readonly keys = new Map<string, number>();
  /** The latest version that an answer has shown. Whoever calls later must see it. */
  shown = 0;

  get expected(): Message {
    return this.expects.at(-1) as Message;
  }
}

/** A send that is durable. */
interface Sent {
  readonly receiver: string;
  readonly number: number;
  /** The attempt that took effect. */
  taken?: string;
  delivered?: true;
}

export class Accounts {
  readonly #fail: (what: string) => void;
  readonly #accounts = new Map<string, Account>();
  readonly #attempts = new Map<string, Operation>();
  /** The turn that each attempt took. */
  readonly #counted = new Map<string, number>();
  /** Attempts that were told that they have no effect. */
  readonly #refused = new Set<string>();
  /** By sender and number. */
  readonly #sent = new Map<string, Sent>();
  readonly #deliveries = new Map<string, Operation>();

  constructor(fail: (what: string) => void) {
    this.#fail = fail;
  }

  of(address: string): Account {
    const known = this.#accounts.get(address) ?? new Account();
    this.#accounts.set(address, known);
    return known;
  }

  attempt(operation: Operation): string {
    const attempt = `${operation.id}.${++operation.attempts}`;
    this.#attempts.set(attempt, operation);
    return attempt;
  }

  /** What is durable and was not delivered: sender and receiver. */
  get undelivered(): readonly (readonly [sender: string, receiver: string])[] {
    return [...this.#sent].flatMap(([name, { receiver, delivered }]) =>
      delivered ? [] : [[name.slice(0, name.indexOf("#")), addressOf(receiver)] as const],
    );
  }

  /** The call that delivers a send: the same, however often and from wherever it is tried. */
  deliveryOf(sender: string, { record: [number, , receiver] }: Send, shard: number): Operation {
    const id = `${sender}#${number}`;
    const known = this.#deliveries.get(id) ?? {
      id,
      shard,
      actor: receiver,
      message: "add" as const,
      ordered: false,
      declined: false,
      keyed: false,
      sends: [],
      sender: { key: sender, number },
      attempts: 0,
    };
    this.#deliveries.set(id, known);
    return known;
  }

  /** An entry has become durable. */
  counted(text: string): void {
    const line = decodeLine(text);
    if (isDelivery(line)) this.#delivered(line);
    else this.#countedCall(line);
  }

  #delivered({ actor, delivered: [number, outcome] }: Delivery): void {
    const name = `${actor}#${number}`;
    const sent = this.#sent.get(name);
    if (sent?.taken === undefined || outcome !== "done")
      this.#fail(`send ${name} was delivered (${outcome}) and has not taken effect`);
    else if (sent.delivered) this.#fail(`send ${name} was delivered twice`);
    else sent.delivered = true;
  }

  #took(attempt: string, { id, actor, sender }: Operation): void {
    if (sender === undefined) return;
    const sent = this.#sent.get(id);
    if (sent === undefined) return this.#fail(`send ${id} took effect before it was durable`);
    if (sent.taken !== undefined) this.#fail(`send ${id} took effect twice`);
    sent.taken = attempt;
    const before = [...this.#sent].filter(
      ([name, { receiver, number }]) =>
        name.startsWith(`${sender.key}#`) && receiver === actor && number < sender.number,
    );
    if (before.some(([, { delivered }]) => !delivered)) this.#fail(`send ${id} overtook another`);
  }

  #countedCall({ actor, turns, sends = [] }: ParsedEntry): void {
    for (const [number, , receiver] of sends) {
      const name = `${actor}#${number}`;
      if (this.#sent.has(name)) this.#fail(`the number of ${name} was used twice`);
      this.#sent.set(name, { receiver, number });
    }
    const [[message, , seed, reply]] = turns;
    const account = this.of(actor);
    if (this.#counted.has(seed)) this.#fail(`${seed} took effect twice`);
    if (this.#refused.has(seed)) this.#fail(`${seed} was refused and took effect`);
    const n = account.turns.push(seed);
    this.#counted.set(seed, n);
    const told = (reply as { readonly n: number }).n;
    if (told !== n) this.#fail(`turn ${n} of ${actor} took itself for turn ${told}`);
    const operation = this.#attempts.get(seed);
    if (operation === undefined) throw new Error(`nobody has sent ${seed}`);
    const { id, keyed, declined, ordered: steps } = operation;
    if (declined) this.#fail(`${seed} was declined and took effect`);
    if (keyed) {
      if (account.keys.has(id)) this.#fail(`the key ${id} took effect twice`);
      account.keys.set(id, n);
    }
    if (steps && message !== account.expected) this.#fail(`${seed} took effect out of order`);
    const after = message === "add" ? "take" : "add";
    account.expects.push(steps ? after : account.expected);
    this.#took(seed, operation);
  }

  /**
   * A node answers.
   * @param shown the latest version that had been shown when the call began
   */
  answered(attempt: string, operation: Operation, answer: Answer | Refusal, shown: number): void {
    const account = this.of(addressOf(operation.actor));
    if (!isRefusal(answer) && operation.sender !== undefined && answer.kept) {
      if (this.#sent.get(operation.id)?.taken === undefined)
        this.#fail(`send ${operation.id} was said to be taken and is not durable`);
    } else if (!isRefusal(answer)) {
      const { n } = answer.reply as unknown as Version;
      if (answer.kept) return this.#checkKept(account, operation, attempt, n);
      if (this.#counted.get(attempt) !== n) this.#fail(`${attempt} was acknowledged and is not durable`);
      if (n <= shown) this.#fail(`${attempt} is turn ${n}, but turn ${shown} was seen before it began`);
      account.shown = Math.max(account.shown, n);
    } else if (answer.code === "handler_error") {
      this.#checkDeclined(account, attempt, JSON.parse(answer.detail) as Version, shown);
    } else if (answer.code === "out_of_order") {
      const refusing = account.expects.slice(shown).some((message) => message !== operation.message);
      if (!refusing) this.#fail(`${attempt} was out of order for no state that it can have seen`);
    } else if (answer.code !== "outcome_unknown") {
      this.#refused.add(attempt);
      if (this.#counted.has(attempt)) this.#fail(`${attempt} took effect and was refused: ${answer.detail}`);
    }
  }

  #checkKept(account: Account, { id }: Operation, attempt: string, n: number): void {
    if (account.keys.get(id) !== n) this.#fail(`${attempt} got a kept reply that is not durable`);
    account.shown = Math.max(account.shown, n);
  }

  #checkDeclined(account: Account, attempt: string, { n, last }: Version, shown: number): void {
    if (n < shown) this.#fail(`${attempt} saw turn ${n}, but turn ${shown} was seen before it began`);
    if ((account.turns[n - 1] ?? "") !== last || n > account.turns.length)
      this.#fail(`${attempt} saw turn ${n}, which is not durable`);
    account.shown = Math.max(account.shown, n);
  }
}
