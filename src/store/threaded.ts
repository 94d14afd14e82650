/**
 * The embedded store behind a thread, for a node: while one group of calls is fsynced, the next is verified.
 *
 * The contract is the same, and operations take effect in the order in which they were asked for. Should the thread
 * die, nothing hangs: reads answer `store_unavailable`, and writes under way are `unknown`, because they are.
 */
import { Worker } from "node:worker_threads";
import { type Refusal, refuse } from "../errors.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";
import type { Answer, Operation } from "./sqlite.ts";

export interface Request {
  readonly id: number;
  readonly operation: Operation;
}

/** What the thread is sent: what was asked for in one step, or that this is all. */
export type Message = readonly Request[] | "close";

export type Response = { readonly id: number } & Settlement;

type Settlement = { readonly value: Answer } | { readonly refused: string };

/** Throws where the directory cannot be made or holds no database of ours, as `sqliteStore` does. */
export async function threadedSqliteStore(directory: string): Promise<Store> {
  // It stands beside this file, in the sources and in the build.
  const script = new URL(import.meta.url.replace(/threaded(?=\.\w+$)/, "sqlite-thread"));
  const store = new ThreadedStore(new Worker(script, { workerData: directory }));
  const problem = await store.list("opened?");
  if (store.death !== undefined) throw store.death;
  if ("code" in problem) throw new Error(problem.detail);
  return store;
}

class ThreadedStore implements Store {
  death: Error | undefined;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, (settlement: Settlement) => void>();
  /** Asked for in this step, and not sent yet. */
  #unsent: Request[] = [];
  #lastId = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (responses: readonly Response[]) => {
      for (const response of responses) {
        this.#waiting.get(response.id)?.(response);
        this.#waiting.delete(response.id);
      }
    });
    worker.on("error", (error) => this.#die(error instanceof Error ? error : new Error(String(error))));
    this.#exited = new Promise((resolve) => {
      worker.on("exit", () => {
        this.#die(new Error("the store is closed"));
        resolve();
      });
    });
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    const answer = await this.#ask({ get: key });
    return "refused" in answer ? unavailable(answer.refused) : (answer.value as StoredObject | undefined);
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    // It is sent later than it is asked for: what the caller does with its bytes meanwhile must not matter.
    const answer = await this.#ask({ put: key, body: new Uint8Array(body), condition });
    return "refused" in answer
      ? { outcome: "unknown", reason: answer.refused }
      : (answer.value as PutOutcome);
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    const answer = await this.#ask({ delete: key });
    return "refused" in answer ? "unknown" : (answer.value as "done" | "unknown");
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    const answer = await this.#ask({ list: prefix });
    return "refused" in answer ? unavailable(answer.refused) : (answer.value as readonly string[]);
  }

  async close(): Promise<void> {
    this.#send();
    this.#worker.postMessage("close" satisfies Message);
    await this.#exited;
  }

  #ask(operation: Operation): Promise<Settlement> {
    if (this.death !== undefined) return Promise.resolve({ refused: this.death.message });
    // Writers that were answered together ask again together: one message brings all of them into one group.
    if (this.#unsent.length === 0) queueMicrotask(() => this.#send());
    const id = ++this.#lastId;
    this.#unsent.push({ id, operation });
    return new Promise((settle) => {
      this.#waiting.set(id, settle);
    });
  }

  #send(): void {
    const requests = this.#unsent;
    if (requests.length === 0) return;
    this.#unsent = [];
    this.#worker.postMessage(requests satisfies Message);
  }

  #die(why: Error): void {
    this.death ??= why;
    for (const settle of this.#waiting.values()) settle({ refused: this.death.message });
    this.#waiting.clear();
  }
}

function unavailable(reason: string): Refusal {
  return refuse("store_unavailable", reason);
}
