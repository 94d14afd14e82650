/**
 * Replay: the turns of a log are run again, each by the handler that ran it then, and what comes out is compared.
 *
 * Handlers are pure and metered (DESIGN section 6): the same module, state, message and seed give the same reply, state
 * and fuel on every machine. So a difference means that the log was changed, that a module is not what it was, or that
 * an engine computes something else, and each of these somebody must know. The log stays the truth: behind a difference the
 * replay goes on with what was recorded.
 *
 * Only what the log still holds can be run again: a checkpoint keeps states and not the turns that led to them.
 */
import { type Actor, take } from "./actor/actor.ts";
import { decodeLine, isDelivery, type ParsedEntry, stateAfter } from "./actor/entry.ts";
import { readRecord } from "./actor/record.ts";
import { History, type Place } from "./cluster/history.ts";
import { used } from "./cluster/refusals.ts";
import { runTurn } from "./dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Json } from "./json.ts";
import { REPLAY_DIFFERENCES_MAX, SHARD_CHECKS_MAX } from "./limits.ts";
import { hashOf, moduleKey } from "./publish.ts";
import { checkShard } from "./shard-check.ts";
import type { Store } from "./store/contract.ts";

/** What is run again: all of it unless said. */
export interface ReplayScope {
  readonly tenant?: string;
  /** `type/id`. */
  readonly actor?: string;
  /** Times of the calls, ms since the epoch, both included. */
  readonly from_ms?: number;
  readonly to_ms?: number;
}

export interface Difference extends Place {
  readonly shard: number;
  /** `tenant/type/id`. */
  readonly actor: string;
  /** What was recorded, and what comes out now. */
  readonly detail: string;
}

export interface ReplayReport {
  /** Entries and turns that were run again. */
  readonly entries: number;
  readonly turns: number;
  /** Entries that do not say which handler ran them: nodes before there was a replay wrote them. */
  readonly unrecorded: number;
  /** All of them, of which `differences` lists the first ones. */
  readonly different: number;
  readonly differences: readonly Difference[];
}

/**
 * Runs one shard's turns again. Refusals: `store_unavailable`, also where the shard is damaged, or where its node
 * replaces its checkpoint faster than it can be read.
 */
export async function replayShard(
  store: Store,
  shard: number,
  scope: ReplayScope,
): Promise<ReplayReport | Refusal> {
  for (let attempt = 1; attempt <= SHARD_CHECKS_MAX; attempt++) {
    const problems = await checkShard(store, shard, () => {});
    if (isRefusal(problems)) return problems;
    const [problem] = problems;
    if (problem !== undefined) return notWhole(shard, `${problem.key}: ${problem.detail}`);
    const history = await History.open(store, shard);
    if (isRefusal(history)) return history;
    if (history === undefined) return NOTHING;
    const replay = new Replay(store, shard, scope, history);
    const refused = await history.forEachEntry((entry, place) => replay.visit(entry, place));
    const isCurrent = await history.isCurrent();
    if (isRefusal(isCurrent)) return isCurrent;
    if (isCurrent) return refused ?? replay.report;
  }
  return notWhole(shard, "its node replaces its checkpoint faster than it can be read; replay a copy");
}

const NOTHING: ReplayReport = { entries: 0, turns: 0, unrecorded: 0, different: 0, differences: [] };

function notWhole(shard: number, why: string): Refusal {
  return refuse("store_unavailable", `shard ${shard} cannot be replayed: ${why}`);
}

class Replay {
  readonly #store: Store;
  readonly #shard: number;
  readonly #scope: ReplayScope;
  readonly #history: History;
  /** `undefined`: an entry did not follow on its state, so what comes after cannot be run. */
  readonly #actors = new Map<string, Actor | undefined>();
  readonly #modules = new Map<string, WebAssembly.Module | string>();
  readonly #differences: Difference[] = [];
  #entries = 0;
  #turns = 0;
  #unrecorded = 0;
  #different = 0;

  constructor(store: Store, shard: number, scope: ReplayScope, history: History) {
    this.#store = store;
    this.#shard = shard;
    this.#scope = scope;
    this.#history = history;
  }

  get report(): ReplayReport {
    return {
      entries: this.#entries,
      turns: this.#turns,
      unrecorded: this.#unrecorded,
      different: this.#different,
      differences: this.#differences,
    };
  }

  async visit(text: string, place: Place): Promise<Refusal | undefined> {
    const entry = used("record", `${this.#shard}/${place.slot}/${place.index}`, () => decodeLine(text));
    if (isRefusal(entry)) return entry;
    if (!this.#isOfScope(entry.actor)) return undefined;
    const actor = await this.#actor(entry.actor);
    if (actor === undefined || isRefusal(actor)) return actor;
    if (!isDelivery(entry)) return this.#visitCall(entry, actor, place);
    take(actor, entry, undefined);
    return undefined;
  }

  async #visitCall(entry: ParsedEntry, actor: Actor, place: Place): Promise<Refusal | undefined> {
    const report = (detail: string): void => this.#report({ ...place, actor: entry.actor, detail });
    let after: string | undefined;
    try {
      after = stateAfter(entry, actor.state);
    } catch {
      report("the entry does not follow on the actor's state: it was changed, or one before it was");
      this.#actors.set(entry.actor, undefined);
      return undefined;
    }
    const refused = this.#isInTime(entry.at) ? await this.#compare(entry, actor, after, report) : undefined;
    if (refused !== undefined) return refused;
    take(actor, entry, after);
    return undefined;
  }

  #isOfScope(address: string): boolean {
    const { tenant, actor } = this.#scope;
    const [of = "", ...id] = address.split("/");
    return (tenant ?? of) === of && (actor ?? id.join("/")) === id.join("/");
  }

  #isInTime(at: number): boolean {
    const { from_ms = Number.NEGATIVE_INFINITY, to_ms = Number.POSITIVE_INFINITY } = this.#scope;
    return from_ms <= at && at <= to_ms;
  }

  #report(difference: Omit<Difference, "shard">): void {
    this.#different++;
    if (this.#differences.length < REPLAY_DIFFERENCES_MAX)
      this.#differences.push({ shard: this.#shard, ...difference });
  }

  async #actor(address: string): Promise<Actor | undefined | Refusal> {
    if (this.#actors.has(address)) return this.#actors.get(address);
    const lines = await this.#history.record(address);
    const actor = isRefusal(lines) ? lines : used("record", address, () => readRecord(address, lines));
    if (!isRefusal(actor)) this.#actors.set(address, actor);
    return actor;
  }

  async #compare(
    entry: ParsedEntry,
    actor: Actor,
    after: string | undefined,
    report: (detail: string) => void,
  ): Promise<Refusal | undefined> {
    if (entry.handler === undefined) {
      this.#unrecorded++;
      return undefined;
    }
    const module = await this.#module(entry.handler);
    if (isRefusal(module)) return module;
    this.#entries++;
    this.#turns += entry.turns.length;
    const detail = typeof module === "string" ? module : differenceIn(entry, actor, after, module);
    if (detail !== undefined) report(detail);
    return undefined;
  }

  /** Or why there is none. Refusal: `store_unavailable`. */
  async #module(hash: string): Promise<WebAssembly.Module | string | Refusal> {
    const known = this.#modules.get(hash);
    if (known !== undefined) return known;
    const found = await this.#store.get(moduleKey(hash));
    if (isRefusal(found)) return found;
    const bytes = found && new Uint8Array(found.body);
    const module =
      bytes !== undefined && hashOf(bytes) === hash
        ? new WebAssembly.Module(bytes)
        : `its handler ${moduleKey(hash)} is ${bytes === undefined ? "missing" : "damaged"}`;
    this.#modules.set(hash, module);
    return module;
  }
}

/** The first difference between an entry and its turns, run again; a clause, `undefined` where there is none. */
function differenceIn(
  entry: ParsedEntry,
  { state: before, behaviour, capabilities }: Actor,
  after: string | undefined,
  module: WebAssembly.Module,
): string | undefined {
  const actor = entry.actor.slice(entry.actor.indexOf("/") + 1);
  let state = before;
  let become = behaviour?.name;
  const held = [...capabilities.values()].map(({ note }) => note);
  const caps = [...held, ...(entry.caps ?? []).map(([note]) => note)];
  const sends: Json[] = [];
  for (const [index, [message, args, seed, reply, fuel]] of entry.turns.entries()) {
    const ran = runTurn(module, { state, message, args, now_ms: entry.at, seed, actor, caps });
    const which = entry.batch ? `${message} (call ${index})` : message;
    if (isRefusal(ran)) return `${which} is refused now: ${ran.code}: ${ran.detail}`;
    const replies = compared("reply", JSON.stringify(reply), JSON.stringify(ran.reply));
    const fuels = compared("fuel", String(fuel ?? ran.fuel), String(ran.fuel));
    const different = replies ?? fuels;
    if (different !== undefined) return `${which}: ${different}`;
    state = ran.state ?? state;
    become = ran.become ?? become;
    sends.push(...(ran.sends ?? []).map(({ to, message: sent, args: given }) => [to, sent, given]));
  }
  const sent = (entry.sends ?? []).map(([, to, , name, given]) => [to, name, given]);
  return (
    compared("new state", after ?? before, state) ??
    compared("behaviour", entry.behaviour[2], become) ??
    compared("sends", JSON.stringify(sent), JSON.stringify(sends))
  );
}

function compared(what: string, then: string | undefined, now: string | undefined): string | undefined {
  if (then === now) return undefined;
  return `the ${what} was ${excerpt(then, now)}, and is ${excerpt(now, then)}`;
}

/** Characters of either side that are shown around the first difference. */
const EXCERPT = 60;

function excerpt(text: string | undefined, other = ""): string {
  if (text === undefined) return "none";
  let at = 0;
  while (at < text.length && text[at] === other[at]) at++;
  const start = Math.max(0, Math.min(at - EXCERPT / 2, text.length - EXCERPT));
  const end = Math.min(text.length, start + EXCERPT);
  return `${start > 0 ? "…" : ""}${text.slice(start, end)}${end < text.length ? "…" : ""}`;
}
