/**
 * Histories as a chaos run records them, of one simulated account: calls are sent again under their keys until they are
 * answered, some sendings are lost before their effect and some after it, and now and then the leader is lost.
 *
 * A cluster that does as it should, or one that has a mistake planted in it.
 */
import type { Seeded } from "../support/seeded.ts";
import { type AccountInput, accountModel, OUT_OF_ORDER } from "./account-model.ts";
import { definite, History, type Intent } from "./history.ts";
import type { Output, State } from "./linearizability.ts";

export type Mistake =
  /** Answers before its write is durable: when the leader is lost, so is what it acknowledged last. */
  | "acknowledges too early"
  /** Takes a call that is sent again for a new one. */
  | "forgets keys"
  /** A leader that was deposed goes on to answer what it knew. */
  | "reads without asking"
  /** Does calls that the account's behaviour does not allow. */
  | "ignores the order";

export interface Recorded {
  readonly history: History;
  readonly finals: ReadonlyMap<string, Output>;
  /** How often the mistake was made. */
  readonly mistakes: number;
}

export const ACTOR = "account/chaos-1-1";
const CLIENTS = 3;
const STEPS = 400;
const KEPT_STATES = 40;

export function recorded(random: Seeded, mistake?: Mistake): Recorded {
  const history = new History();
  const cluster = new Cluster(random, mistake);
  const clients: { intent: Intent | undefined; free_at: number }[] = Array.from({ length: CLIENTS }, () => ({
    intent: undefined,
    free_at: 0,
  }));
  let now = 0;
  let keys = 0;
  const sendOne = (client: (typeof clients)[number], isClear: boolean): void => {
    now += 1;
    let { intent } = client;
    if (intent === undefined) {
      intent = { actor: ACTOR, key: `k${++keys}`, input: inputOf(random, keys), attempts: [] };
      history.record(intent);
    }
    const sent_at = Math.max(client.free_at, now - random.between(0, 3));
    const ended_at = now + random.between(0, 3);
    intent.attempts.push({ node: 0, sent_at, ended_at, ...cluster.send(intent, isClear) });
    client.free_at = ended_at;
    client.intent = definite(intent) === undefined ? intent : undefined;
  };
  for (let step = 0; step < STEPS; step++) {
    const free = clients.filter(({ free_at }) => free_at <= now + 1);
    if (free.length > 0) sendOne(random.pick(free), false);
    else now += 1;
    if (random.chance(0.05)) cluster.loseLeader();
  }
  for (const client of clients) {
    now += 3;
    if (client.intent !== undefined) sendOne(client, true);
  }
  return { history, finals: new Map([[ACTOR, cluster.balance]]), mistakes: cluster.mistakes };
}

function inputOf(random: Seeded, count: number): AccountInput {
  const message = random.weighted({ open: 0.03, deposit: 0.5, withdraw: 0.2, balance: 0.27, close: 0 });
  return { message: count === 1 ? "open" : message, amount: count * 1000 + random.below(1000) };
}

/** What the nodes amount to: one account, and the answers that are kept by key. */
class Cluster {
  mistakes = 0;
  readonly #random: Seeded;
  readonly #mistake: Mistake | undefined;
  /** The last one counts. */
  #states: State[] = [accountModel.initial];
  readonly #kept = new Map<string, Output>();
  /** What was acknowledged last, if it has changed the state. */
  #last: { readonly key: string; readonly before: State } | undefined;

  constructor(random: Seeded, mistake: Mistake | undefined) {
    this.#random = random;
    this.#mistake = mistake;
  }

  get balance(): Output {
    return accountModel.step(this.#state, { message: "balance", amount: 0 }).output;
  }

  get #state(): State {
    return this.#states.at(-1) ?? accountModel.initial;
  }

  /** @param isClear this sending is answered */
  send({ key, input }: Intent, isClear: boolean): Pick<Intent["attempts"][number], "ending" | "answer"> {
    const fate = isClear ? 1 : this.#random.fraction();
    if (fate < 0.1) return { ending: "no_effect", answer: "ECONNREFUSED" };
    if (fate < 0.2) return { ending: "ambiguous", answer: "TimeoutError" };
    const answer = this.#do(key, input);
    if (fate < 0.3) return { ending: "ambiguous", answer: "ECONNRESET" };
    return { ending: typeof answer === "number" ? "acknowledged" : "refused", answer };
  }

  loseLeader(): void {
    if (this.#mistake !== "acknowledges too early" || this.#last === undefined) return;
    this.#states.push(this.#last.before);
    this.#kept.delete(this.#last.key);
    this.#last = undefined;
    this.mistakes++;
  }

  #do(key: string, input: AccountInput): Output {
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#mistake !== "forgets keys") return kept;
    if (this.#mistake === "reads without asking" && input.message === "balance") return this.#stale();
    const before = this.#state;
    const { state, output } = accountModel.step(before, input);
    if (output === OUT_OF_ORDER && this.#mistake === "ignores the order") {
      this.mistakes++;
      return typeof before === "number" ? before : 0;
    }
    if (kept !== undefined && state !== before) this.mistakes++;
    this.#states.push(state);
    if (typeof output === "number") this.#kept.set(key, output);
    this.#last = state === before ? undefined : { key, before };
    return output;
  }

  #stale(): Output {
    const state = this.#random.chance(0.1) ? this.#states.at(-KEPT_STATES) : undefined;
    if (typeof state !== "number" || state === this.#state) return this.balance;
    this.mistakes++;
    return state;
  }
}
