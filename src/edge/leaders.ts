/**
 * Where the calls belong that an edge node does not answer itself: at the node that leads the actor's shard.
 *
 * An edge node is no member of the cluster and watches nobody. Who leads a shard it reads from `own/{shard}` and
 * `node/{session}` when it must, and believes it until a call says otherwise.
 *
 * On its platform a connection that was refused and one that was lost look the same. So a call is sent again in both
 * cases, which is safe: its nonce is taken where it is done and stands in the log with its effect, so a copy of a call
 * that took effect is refused as replayed. Then nobody knows what was answered, and the caller is told so.
 */

import { NODE_PREFIX, nodeKey } from "../cluster/format.ts";
import { EDGE_HEADER, forward, type Incoming, type Leader, type Send } from "../cluster/forward.ts";
import { type LeaseRecord, parseLease } from "../cluster/lease.ts";
import { readMeta } from "../cluster/meta.ts";
import { readOwnership } from "../cluster/ownership.ts";
import { shardOf } from "../cluster/pages.ts";
import { Placement } from "../cluster/placement.ts";
import { draining, moving } from "../cluster/refusals.ts";
import { type Code, isRefusal, late, type Problem, type Refusal, refuse } from "../errors.ts";
import { PLACE_PATIENCE_MS, PLACE_RETRY_MS } from "../limits.ts";
import type { Store } from "../store/contract.ts";

export interface LeadersOptions {
  /** Of this edge node. */
  readonly name: string;
  readonly store: Store;
  readonly send: Send;
  /** Monotonic. */
  readonly now_ms: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

interface Node extends Leader {
  readonly session: string;
}

export class Leaders {
  readonly #options: LeadersOptions;
  readonly #known = new Map<number, Node>();
  /** How many shards there are: that never changes. */
  #placement: Placement | undefined;
  #shards = 0;

  constructor(options: LeadersOptions) {
    this.#options = options;
  }

  /**
   * Passes a call on to where its actor lives.
   * @param actor `tenant/type/id`
   */
  async pass(actor: string, incoming: Incoming, deadline_ms: number): Promise<Response | Refusal> {
    const { now_ms, sleep } = this.#options;
    const failed = await this.#learnShards();
    if (failed !== undefined) return failed;
    const shard = shardOf(actor, this.#shards);
    const edge = `${this.#options.name} ${new URL(incoming.request.url).host}`;
    const addressed = { ...incoming, more: { ...incoming.more, [EDGE_HEADER]: edge } };
    const until_ms = Math.min(deadline_ms, now_ms() + PLACE_PATIENCE_MS);
    const silent = new Set<string>();
    for (let unclear = false; ; ) {
      const remaining_ms = deadline_ms - now_ms();
      if (remaining_ms <= 0) return unclear ? unknownOutcome() : late();
      const node = await this.#leaderOf(shard, silent);
      const outcome = isRefusal(node) ? node : await this.#ask(shard, node, addressed, remaining_ms);
      if (outcome instanceof Response)
        return unclear && (await isReplayed(outcome)) ? unknownOutcome() : outcome;
      if (!PASSING.has(outcome.code)) return outcome;
      if (outcome.code === "outcome_unknown") {
        unclear = true;
        if (!isRefusal(node)) silent.add(node.session);
      }
      if (now_ms() >= until_ms) return unclear ? unknownOutcome() : outcome;
      await sleep(PLACE_RETRY_MS);
      // Whoever was silent may only have lost one connection.
      if (isRefusal(node)) silent.clear();
    }
  }

  async #ask(
    shard: number,
    node: Node,
    incoming: Omit<Incoming, "admit">,
    remaining_ms: number,
  ): Promise<Response | Refusal> {
    const outcome = await forward(this.#options.send, incoming, node, remaining_ms);
    if (outcome instanceof Response) {
      this.#known.set(shard, node);
      return outcome;
    }
    this.#known.delete(shard);
    if (outcome === "unsent") return unknownOutcome();
    const { leader } = outcome.facts;
    if (leader !== undefined) this.#known.set(shard, { ...leader, life: undefined });
    return outcome;
  }

  async #learnShards(): Promise<Refusal | undefined> {
    if (this.#placement !== undefined) return undefined;
    const meta = await readMeta(this.#options.store);
    if (isRefusal(meta)) return meta;
    if (meta === undefined) return nobody();
    this.#shards = meta.shards;
    this.#placement = new Placement(meta.shards);
    return undefined;
  }

  async #leaderOf(shard: number, silent: ReadonlySet<string>): Promise<Node | Refusal> {
    const known = this.#known.get(shard);
    if (known !== undefined && !silent.has(known.session)) return known;
    const owned = await readOwnership(this.#options.store, shard);
    if (isRefusal(owned)) return owned;
    const session = owned?.ownership.session ?? "";
    if (session !== "" && !silent.has(session)) {
      const lease = await this.#lease(nodeKey(session));
      if (isRefusal(lease)) return lease;
      if (lease !== undefined) return nodeOf(lease);
    }
    return this.#takerOf(shard, silent);
  }

  /** Nobody leads it: whoever should is asked, and takes it because of that. */
  async #takerOf(shard: number, silent: ReadonlySet<string>): Promise<Node | Refusal> {
    const keys = await this.#options.store.list(NODE_PREFIX);
    if (isRefusal(keys)) return keys;
    const leases = await Promise.all(keys.map((key) => this.#lease(key)));
    const nodes = new Map<string, LeaseRecord>();
    for (const lease of leases)
      if (lease !== undefined && !isRefusal(lease) && lease.state === "serving")
        nodes.set(lease.session, lease);
    const [heard, all] = [[...nodes.keys()].filter((session) => !silent.has(session)), [...nodes.keys()]];
    const taker = this.#placement?.assign(heard.length > 0 ? heard : all)[shard];
    const lease = nodes.get(taker ?? "");
    return lease === undefined ? moving(shard) : nodeOf(lease);
  }

  /** @returns `undefined` where the node has left, or was declared dead. */
  async #lease(key: string): Promise<LeaseRecord | undefined | Refusal> {
    const found = await this.#options.store.get(key);
    if (found === undefined || isRefusal(found)) return found;
    const lease = parseLease(found.body);
    return lease === undefined || lease.state === "dead" ? undefined : lease;
  }
}

/** Another attempt in a moment may do better. */
const PASSING: ReadonlySet<Code> = new Set(["not_leader", "draining", "outcome_unknown"]);

const nodeOf = ({ session, url }: LeaseRecord): Node => ({ session, url, life: undefined });

function nobody(): Refusal {
  return draining().with({ retry_after_ms: 1000 });
}

function unknownOutcome(): Refusal {
  return refuse("outcome_unknown", "the node that leads the actor's shard did not answer; ask again");
}

async function isReplayed(response: Response): Promise<boolean> {
  if (response.status !== 401) return false;
  const { code } = (await response.clone().json()) as Partial<Problem>;
  return code === "replayed";
}
