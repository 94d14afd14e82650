/**
 * What an actor has sent and what is not delivered yet: its outbox, part of its record.
 *
 * A send enters it in the entry of the turn that sent it and leaves it in an entry of its own, when its receiver has
 * given a final answer. Numbers are never used twice, so a receiver that knows the last one it took takes none again.
 */

import { utf8 } from "../bytes.ts";
import type { SendRequest } from "../dispatch/outcome.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { capOf } from "../handles.ts";
import type { Json } from "../json.ts";
import { BODY_BYTES_MAX, OUTBOX_LENGTH_MAX, OUTBOX_SENDS_MAX, SENDS_PER_CALL_MAX } from "../limits.ts";
import type { Purse, SealedRecord } from "./capabilities.ts";

/** `[number, capability, actor, message, arguments]`: the receiver is `type/id` of the same tenant. */
export type SendRecord = readonly [number: number, to: number, actor: string, message: string, args: Json];

export interface Send {
  readonly record: SendRecord;
  /** The capabilities that it refers to, its own among them. */
  readonly caps: readonly SealedRecord[];
  /** When it was sent, ms since the epoch. */
  readonly at_ms: number;
}

export class Outbox {
  readonly #sends = new Map<number, Send>();
  #length = 0;

  get size(): number {
    return this.#sends.size;
  }

  /** Of arguments and sealed capabilities, in characters. */
  get length(): number {
    return this.#length;
  }

  add(send: Send): void {
    this.#sends.set(send.record[0], send);
    this.#length += lengthOf(send);
  }

  delete(number: number): void {
    const send = this.#sends.get(number);
    if (send === undefined || !this.#sends.delete(number)) return;
    this.#length -= lengthOf(send);
  }

  has(number: number): boolean {
    return this.#sends.has(number);
  }

  /** The receivers that something is for, `type/id`. */
  get receivers(): ReadonlySet<string> {
    return new Set([...this].map(({ record }) => record[2]));
  }

  /** What is to be delivered to a receiver next. */
  next(receiver: string): Send | undefined {
    for (const send of this) if (send.record[2] === receiver) return send;
    return undefined;
  }

  /** In the order in which they were sent. */
  [Symbol.iterator](): Iterator<Send> {
    return this.#sends.values();
  }
}

/** What of a send refers to capabilities. */
export function referred([, to, , , args]: SendRecord): Json {
  return [capOf(to), args];
}

function lengthOf({ record, caps }: Send): number {
  const sealed = caps.reduce((length, [, text]) => length + text.length, 0);
  return JSON.stringify(record).length + sealed;
}

/**
 * What the turns of one call send, as it may be sent. Refusals: `handler_invalid`, `quota_exceeded`.
 *
 * @param next the number of the first of them
 */
export class Sending {
  readonly #purse: Purse;
  readonly #outbox: Outbox;
  readonly #next: number;
  readonly #records: SendRecord[] = [];

  constructor(purse: Purse, outbox: Outbox, next: number) {
    this.#purse = purse;
    this.#outbox = outbox;
    this.#next = next;
  }

  get records(): readonly SendRecord[] {
    return this.#records;
  }

  add(requests: readonly SendRequest[]): Refusal | undefined {
    for (const request of requests) {
      const what = `send ${this.#records.length}`;
      const record = this.#record(what, request);
      if (isRefusal(record)) return record;
      this.#records.push(record);
    }
    if (this.#records.length > SENDS_PER_CALL_MAX)
      return invalid(`the handler sends more than ${SENDS_PER_CALL_MAX} messages in one call`);
    return requests.length > 0 ? this.#refuseFull() : undefined;
  }

  #record(what: string, { to, actor, message, args }: SendRequest): SendRecord | Refusal {
    const purse = this.#purse;
    const refused = purse.refuse(what, capOf(to), false) ?? purse.refuse(`arguments of ${what}`, args, true);
    if (refused !== undefined) return refused;
    const receiver = receiverOf(purse.noteOf(to)?.actor ?? "", actor);
    if (receiver === undefined)
      return invalid(
        `the handler's ${what} is for ${actor ?? "no actor"}, which capability ${to} does not name`,
      );
    // As it will go out: what has no room then is refused now.
    const out = purse.handOn(args, purse.keyOf(receiver));
    if (isRefusal(out)) return out;
    if (utf8(JSON.stringify(out)).length > BODY_BYTES_MAX)
      return invalid(`the arguments of the handler's ${what} have more than ${BODY_BYTES_MAX} bytes`);
    return [this.#next + this.#records.length, to, receiver, message, args];
  }

  #refuseFull(): Refusal | undefined {
    const { size, length } = this.#outbox;
    const added = this.#records.reduce((sum, record) => sum + JSON.stringify(record).length, 0);
    if (size + this.#records.length <= OUTBOX_SENDS_MAX && length + added <= OUTBOX_LENGTH_MAX)
      return undefined;
    return refuse("quota_exceeded", `${size} sends of the actor wait for their receivers, and no more may`, {
      retry_after_ms: 1000,
    });
  }
}

/** @param named the actor of the capability, `type/id` or `type/*`  @param asked the one that the handler named */
function receiverOf(named: string, asked: string | undefined): string | undefined {
  if (!named.endsWith("/*")) return asked === undefined || asked === named ? named : undefined;
  return asked?.startsWith(named.slice(0, -1)) === true ? asked : undefined;
}

function invalid(detail: string): Refusal {
  return refuse("handler_invalid", detail);
}
