/** How requests travel, and what befalls them: between processes and the store, and from process to process. */
import { NODE_PREFIX } from "../../../src/cluster/format.ts";
import { type Refusal, refuse } from "../../../src/errors.ts";
import type { PutOutcome, Store, StoredObject } from "../../../src/store/contract.ts";
import type { Bucket } from "./bucket.ts";
import type { Process } from "./process.ts";
import type { Profile, RequestFault } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Counted } from "./tally.ts";

const SILENT: Refusal = refuse("store_unavailable", "the store does not answer");
const UNCLEAR: PutOutcome = { outcome: "unknown", reason: "no answer" };
const CONFLICT: PutOutcome = { outcome: "conflict" };

/** No answer comes later than after so many TTLs. */
const SLOWEST_TTL = 3;

/** A request and what its sender may hear of it. */
interface Request<T> {
  readonly key: string;
  readonly apply: () => T;
  readonly unclear: T;
  /** Only a write can be done late, twice, or be in conflict. */
  readonly conflict?: T;
  readonly writes: boolean;
  /** Nobody can tell whether a read happened at its beginning or at its end. */
  readonly once: boolean;
}

export interface NetworkOptions {
  readonly random: Random;
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly bucket: Bucket;
  readonly count: (what: Counted) => void;
  /** The process was told that something stands in the way where nothing does. */
  readonly misled: (process: Process, key: string) => void;
  /** A write leaves. */
  readonly sending: (key: string, by: Process) => void;
}

export class Network {
  /** No more faults: what is on its way still arrives. */
  isCalm = false;
  isDown = false;
  readonly #cutFromStore = new Set<Process>();
  readonly #cutFromLeases = new Set<Process>();
  readonly #cutFromEachOther = new Set<string>();
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** @param spied called before each read: where it answers, the read is not sent */
  storeOf(process: Process, spied: () => boolean): Store {
    const { bucket } = this.#options;
    const by = process.session;
    const send = <T>(request: Request<T>): Promise<T> => this.#toStore(process, request);
    return {
      get: (key) => {
        if (spied()) return new Promise(() => {});
        const once = key.startsWith(NODE_PREFIX);
        return send<StoredObject | undefined | Refusal>({
          key,
          apply: () => bucket.get(key),
          unclear: SILENT,
          writes: false,
          once,
        });
      },
      put: (key, body, condition) => {
        this.#options.sending(key, process);
        return send({
          key,
          apply: () => bucket.put(key, body, condition, by),
          unclear: UNCLEAR,
          conflict: CONFLICT,
          writes: true,
          once: false,
        });
      },
      delete: (key) => {
        const apply = (): "done" | "unknown" => {
          bucket.delete(key, by);
          return "done";
        };
        return send({ key, apply, unclear: "unknown", writes: true, once: false });
      },
      list: (prefix) =>
        send<readonly string[] | Refusal>({
          key: prefix,
          apply: () => bucket.list(prefix, by),
          unclear: SILENT,
          writes: false,
          once: false,
        }),
      close: async () => {},
    };
  }

  cutFromStore(process: Process, is: boolean): void {
    if (is) this.#cutFromStore.add(process);
    else this.#cutFromStore.delete(process);
    process.blind("cut", is);
  }

  /** A part of the store, and it is the worst one to miss. */
  cutFromLeases(process: Process, is: boolean): void {
    if (is) this.#cutFromLeases.add(process);
    else this.#cutFromLeases.delete(process);
    process.blind("leases", is);
  }

  cutFromEachOther(a: number, b: number, is: boolean): void {
    for (const pair of [`${a} ${b}`, `${b} ${a}`]) {
      if (is) this.#cutFromEachOther.add(pair);
      else this.#cutFromEachOther.delete(pair);
    }
  }

  /**
   * A request from one process to another. `unsent`: the other has certainly not seen it.
   * @param serve what the other does with it
   */
  call<T>(
    from: Process,
    to: Process | undefined,
    serve: () => Promise<T>,
  ): Promise<T | "unsent" | "unclear"> {
    const { random, profile, scheduler, count } = this.#options;
    return new Promise((resolve) => {
      const hear = (delay_ms: number, outcome: T | "unsent" | "unclear"): void =>
        scheduler.after(delay_ms, () => from.wake(() => resolve(outcome)));
      if (to === undefined || !to.isAlive) return hear(this.#latency_ms(), "unsent");
      if (this.#cutFromEachOther.has(`${from.node} ${to.node}`)) return hear(profile.ttl_ms / 4, "unsent");
      const isLost = !this.isCalm && random.chance(profile.requestFaultRate / 2);
      if (isLost) count("forward lost");
      hear(2 * profile.ttl_ms, "unclear");
      const ask = async (): Promise<void> => {
        const outcome = await serve();
        const isCut = this.#cutFromEachOther.has(`${from.node} ${to.node}`);
        if (!isLost && !isCut) hear(this.#latency_ms(), outcome);
      };
      scheduler.after(this.#latency_ms(), () => {
        if (isLost && random.chance(0.5)) return;
        to.wake(() => void ask());
      });
    });
  }

  #toStore<T>(process: Process, request: Request<T>): Promise<T> {
    return new Promise((resolve) => {
      const hear = (delay_ms: number, value: T): void =>
        this.#options.scheduler.after(delay_ms, () => process.wake(() => resolve(value)));
      if (this.#isCut(process, request.key)) {
        const refusedAtOnce = this.isDown && this.#options.random.chance(0.5);
        hear(refusedAtOnce ? this.#latency_ms() : this.#timeout_ms(), request.unclear);
        return;
      }
      const fault = this.#fault(request.key);
      if (fault === undefined) this.#arrive(process, request, hear);
      else this.#arriveBadly(fault, process, request, hear);
    });
  }

  #isCut(process: Process, key: string): boolean {
    return (
      this.isDown ||
      this.#cutFromStore.has(process) ||
      (this.#cutFromLeases.has(process) && key.startsWith(NODE_PREFIX))
    );
  }

  #arrive<T>(process: Process, request: Request<T>, hear: (ms: number, value: T) => void): void {
    const { key, apply, unclear, once } = request;
    const { scheduler, random } = this.#options;
    if (once && random.chance(0.7)) {
      scheduler.after(2 * this.#latency_ms(), () => hear(0, apply()));
      return;
    }
    scheduler.after(this.#latency_ms(), () => {
      if (this.#isCut(process, key)) return hear(this.#timeout_ms(), unclear);
      const value = apply();
      scheduler.after(this.#latency_ms(), () => {
        if (this.#isCut(process, key)) hear(this.#timeout_ms(), unclear);
        else hear(0, value);
      });
    });
  }

  #arriveBadly<T>(
    fault: RequestFault,
    process: Process,
    request: Request<T>,
    hear: (ms: number, value: T) => void,
  ): void {
    const { scheduler, random, profile, count, misled } = this.#options;
    const { key, apply, unclear, conflict, writes } = request;
    count(writes ? fault : "read failed");
    const later_ms = profile.ttl_ms * random.exponential(1.5);
    if (fault === "slow") {
      // Whoever asks gives up at last.
      scheduler.after(Math.min(later_ms, SLOWEST_TTL * profile.ttl_ms), () =>
        hear(this.#latency_ms(), apply()),
      );
    } else if (!writes || fault === "lost") {
      hear(this.#timeout_ms(), unclear);
    } else if (fault === "failed") {
      hear(2 * this.#latency_ms(), unclear);
    } else if (fault === "conflict") {
      misled(process, key);
      hear(2 * this.#latency_ms(), conflict ?? unclear);
    } else if (fault === "late") {
      scheduler.after(later_ms, apply);
      hear(this.#timeout_ms(), unclear);
    } else {
      scheduler.after(this.#latency_ms(), () => {
        const value = apply();
        if (fault === "unanswered") hear(this.#timeout_ms(), unclear);
        else if (fault === "done_but_failed") hear(this.#latency_ms(), unclear);
        else {
          hear(this.#latency_ms(), value);
          // What was refused for good is not done the second time either.
          if (!isConflict(value)) scheduler.after(later_ms, apply);
        }
      });
    }
  }

  #fault(key: string): RequestFault | undefined {
    const { random, profile } = this.#options;
    const isFaulty = !this.isCalm && profile.faultyFolders.some((folder) => key.startsWith(folder));
    if (!isFaulty || !random.chance(profile.requestFaultRate)) return undefined;
    return random.pick(profile.requestFaults);
  }

  #latency_ms(): number {
    const { random, profile } = this.#options;
    const usual_ms = this.isCalm ? Math.min(profile.latency_ms, profile.ttl_ms / 100) : profile.latency_ms;
    return usual_ms * random.between(0.5, 1.5) * (random.chance(0.02) ? 4 : 1);
  }

  #timeout_ms(): number {
    return this.#options.profile.ttl_ms * this.#options.random.between(0.2, 0.5);
  }
}

function isConflict(value: unknown): boolean {
  return (value as PutOutcome | undefined)?.outcome === "conflict";
}
