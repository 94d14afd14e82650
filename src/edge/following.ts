/**
 * Following the store where nothing runs between requests: an isolate's time begins and ends with them.
 *
 * So requests do it. One whose knowledge is a second old begins a look, which goes on behind its answer; one whose
 * knowledge is older than that waits for it first. What was revoked is thus in force within 2 s, and what cannot have
 * been learned for 30 s is refused, as on a node (`follow.ts`). A look may be cut off with the request that began it:
 * then nobody ever hears of it, and after a while another request begins everything anew.
 */
import type { Refusal } from "../errors.ts";
import type { Follower } from "../follow.ts";
import {
  CHANGES_POLL_MS,
  EDGE_KNOWLEDGE_MS_MAX,
  EDGE_LOOK_MS_MAX,
  EDGE_PATIENCE_MS,
  FULL_PASS_MS,
} from "../limits.ts";
import type { Tenant } from "../tenants.ts";

export interface FollowingOptions {
  /** One that knows nothing yet. */
  readonly follower: () => Follower;
  /** Monotonic. */
  readonly now_ms: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Lets work go on when the request that began it is answered. */
export type KeepAlive = (work: Promise<void>) => void;

export class Following {
  readonly #options: FollowingOptions;
  #follower: Follower;
  /** One look, with all that it leads to. */
  #look: { readonly since_ms: number; readonly done: Promise<void> } | undefined;
  #lookedFrom_ms = -Infinity;
  #passedFrom_ms = -Infinity;

  constructor(options: FollowingOptions) {
    this.#options = options;
    this.#follower = options.follower();
  }

  /** Refusals: `no_such_tenant`; `store_unavailable` where it is not known what the tenant has revoked. */
  tenant(name: string): Tenant | Refusal {
    return this.#follower.tenant(name);
  }

  stale(): Refusal | undefined {
    return this.#follower.stale();
  }

  /** To be called before a request is looked at: what is known of this tenant is then as new as it can be. */
  async refresh(name: string, keepAlive: KeepAlive): Promise<void> {
    const { now_ms, sleep } = this.#options;
    const until_ms = now_ms() + EDGE_PATIENCE_MS;
    // A look that was under way when the request came may have been sent too long ago: then there is another.
    for (let look = 0; look < 2; look++) {
      const age_ms = this.#follower.ageOf_ms(name);
      if (age_ms < CHANGES_POLL_MS) return;
      const done = this.#begin(keepAlive);
      if (done === undefined || age_ms < EDGE_KNOWLEDGE_MS_MAX) return;
      await Promise.race([done, sleep(until_ms - now_ms())]);
      if (now_ms() >= until_ms) return;
    }
  }

  /** @returns `undefined` where one has just failed: the store is not asked by every request in between */
  #begin(keepAlive: KeepAlive): Promise<void> | undefined {
    const now_ms = this.#options.now_ms();
    if (this.#look !== undefined && now_ms - this.#look.since_ms > EDGE_LOOK_MS_MAX) this.#anew();
    if (this.#look !== undefined) return this.#look.done;
    if (now_ms - this.#lookedFrom_ms < CHANGES_POLL_MS) return undefined;
    const look = { since_ms: now_ms, done: this.#lookOnce(now_ms) };
    this.#look = look;
    this.#lookedFrom_ms = now_ms;
    void look.done.finally(() => {
      if (this.#look === look) this.#look = undefined;
    });
    keepAlive(look.done);
    return look.done;
  }

  /** Never rejects. */
  async #lookOnce(now_ms: number): Promise<void> {
    const follower = this.#follower;
    try {
      const passes = now_ms - this.#passedFrom_ms >= FULL_PASS_MS;
      if (passes) this.#passedFrom_ms = now_ms;
      await follower.look();
      if (passes) await follower.pass();
      await follower.settled();
    } catch {
      // A bug in one look is no look: the age tells.
    }
  }

  #anew(): void {
    this.#follower = this.#options.follower();
    this.#look = undefined;
    this.#lookedFrom_ms = -Infinity;
    this.#passedFrom_ms = -Infinity;
  }
}
