/**
 * A client as it should be: it takes no silence for a no, and repeats a call only under its idempotency key.
 *
 * It sends to any node, and after an unclear end to another. Now and then it leaves an unclear call as it is, does
 * something else, and comes back to it later.
 */
import { setTimeout } from "node:timers/promises";
import { Agent, fetch } from "undici";
import type { Code, Problem } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { type Caller, type CallOutcome, send, signCall } from "../../src/sdk/client.ts";
import type { Seeded } from "../support/seeded.ts";
import { HANDLER_ERROR, OUT_OF_ORDER } from "./account-model.ts";
import { type Attempt, definite, type Ending, type History, type Intent } from "./history.ts";
import type { Slot } from "./slot.ts";

/** A node that answers nothing in this time is paused, cut off or dead; some callers wait longer than others. */
const PATIENCE_MS = [300, 1_500] as const;
const OPEN_INTENTS_MAX = 2;
/** Before the same call is sent again. */
const RETRY_PAUSE_MS = [10, 150] as const;
/** Between calls. */
const THINK_MS = [0, 60] as const;

/** What nodes may answer, and what each means. Anything else is a mistake of theirs. */
const MEANING: Partial<Record<Code, Ending>> = {
  [OUT_OF_ORDER]: "refused",
  [HANDLER_ERROR]: "refused",
  overloaded: "no_effect",
  store_unavailable: "no_effect",
  draining: "no_effect",
  deadline: "no_effect",
  in_flight: "no_effect",
  outcome_unknown: "ambiguous",
};

export interface ClientOptions {
  readonly caller: Omit<Caller, "url">;
  /** Where the nodes are now; one that is down is where it was. */
  readonly urls: () => readonly string[];
  readonly history: History;
  readonly random: Seeded;
  readonly now_ms: () => number;
  /** Told of answers that no node may give. */
  readonly unexpected: (what: string) => void;
}

export class CarefulClient {
  readonly #options: ClientOptions;
  readonly #agent = new Agent();
  readonly #open: Intent[] = [];

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Calls the slot's accounts until the time is over; what is unclear then stays open. */
  async work(slot: Slot, isOver: () => boolean): Promise<void> {
    const { random, history } = this.#options;
    while (!isOver()) {
      await setTimeout(random.between(...THINK_MS));
      const returns = this.#open.length >= OPEN_INTENTS_MAX || random.chance(0.2);
      const intent = (returns ? this.#open.shift() : undefined) ?? slot.next(random);
      if (intent.attempts.length === 0) history.record(intent);
      await this.#insist(intent, isOver);
      const answered = definite(intent);
      if (answered === undefined) this.#open.push(intent);
      else slot.learn(intent, answered);
    }
  }

  /** Sends until every open intent has its answer. @returns what has none when the time is over */
  async settle(isOver: () => boolean): Promise<readonly Intent[]> {
    while (this.#open.length > 0 && !isOver()) {
      const [intent] = this.#open;
      if (intent === undefined || (await this.#answered(intent))) this.#open.shift();
      else await setTimeout(this.#options.random.between(...RETRY_PAUSE_MS));
    }
    return this.#open;
  }

  /** One call to a healthy cluster, until it is answered. @returns `undefined` where the time is over first */
  async ask(intent: Intent, isOver: () => boolean): Promise<Attempt | undefined> {
    while (!isOver() && !(await this.#answered(intent)))
      await setTimeout(this.#options.random.between(...RETRY_PAUSE_MS));
    return definite(intent);
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #insist(intent: Intent, isOver: () => boolean): Promise<void> {
    const { random } = this.#options;
    while (!isOver() && !(await this.#answered(intent))) {
      if (intent.attempts.at(-1)?.ending === "ambiguous" && random.chance(0.3)) return;
      await setTimeout(random.between(...RETRY_PAUSE_MS));
    }
  }

  async #answered(intent: Intent): Promise<boolean> {
    intent.attempts.push(await this.#send(intent));
    return definite(intent) !== undefined;
  }

  async #send(intent: Intent): Promise<Attempt> {
    const { caller, urls, random, now_ms } = this.#options;
    const nodes = urls();
    const last = intent.attempts.at(-1)?.node;
    const others = [...nodes.keys()].filter((node) => nodes.length === 1 || node !== last);
    const node = random.pick(others);
    const { actor, input, key } = intent;
    const args = argumentsOf(intent);
    const call = { tenant: "demo", actor, message: input.message, args, idempotencyKey: key };
    const request = signCall({ ...caller, url: nodes[node] ?? "" }, call);
    const patience_ms = Math.round(random.between(...PATIENCE_MS));
    const sent_at = now_ms();
    const outcome = await send(request, (url, init) =>
      fetch(url, { ...init, dispatcher: this.#agent, signal: AbortSignal.timeout(patience_ms) }),
    ).catch((error: unknown) => failureOf(error));
    return { node, sent_at, ended_at: now_ms(), ...this.#read(intent, outcome) };
  }

  #read(intent: Intent, outcome: CallOutcome | string): Pick<Attempt, "ending" | "answer"> {
    if (typeof outcome === "string")
      return { ending: outcome === "ECONNREFUSED" ? "no_effect" : "ambiguous", answer: outcome };
    if ("problem" in outcome) return this.#readProblem(intent, outcome.problem);
    const balance = (outcome.result as { balance?: unknown } | null)?.balance;
    if (typeof balance === "number") return { ending: "acknowledged", answer: balance };
    this.#options.unexpected(`${intent.input.message} was answered ${JSON.stringify(outcome.result)}`);
    return { ending: "ambiguous", answer: "no balance" };
  }

  #readProblem({ input, actor }: Intent, { code, detail }: Problem): Pick<Attempt, "ending" | "answer"> {
    const ending = MEANING[code];
    if (ending === undefined)
      this.#options.unexpected(`${input.message} of ${actor} was answered ${code}: ${detail}`);
    return { ending: ending ?? "ambiguous", answer: code };
  }
}

function argumentsOf({ actor, input: { message, amount } }: Intent): Json {
  if (message === "open") return { owner: actor };
  return message === "deposit" || message === "withdraw" ? { amount } : {};
}

/** What became of the connection, by the system's code. */
function failureOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === "string") return code;
  }
  return error instanceof Error ? error.name : "no answer";
}
