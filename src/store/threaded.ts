/**
 * The embedded store behind a thread, for a node: while one group of calls is fsynced, the next is verified.
 *
 * The contract is the same. Should the thread die, nothing hangs: reads answer `store_unavailable`, and writes
 * under way are `unknown`, because they are.
 */
import { Worker } from "node:worker_threads";
import { type Refusal, refuse } from "../errors.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";

export interface Request {
  readonly id: number;
  readonly operation: keyof Store;
  readonly parameters: readonly unknown[];
}

export type Response = { readonly id: number } & Answer;

type Answer = { readonly value: unknown } | { readonly refused: string };

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
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #lastId = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (response: Response) => {
      this.#waiting.get(response.id)?.(response);
      this.#waiting.delete(response.id);
    });
    worker.on("error", (error) => this.#die(error instanceof Error ? error : new Error(String(error))));
    worker.on("exit", () => this.#die(new Error("the store is closed")));
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    const answer = await this.#ask("get", key);
    return "refused" in answer ? unavailable(answer.refused) : (answer.value as StoredObject | undefined);
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    const answer = await this.#ask("put", key, body, condition);
    return "refused" in answer
      ? { outcome: "unknown", reason: answer.refused }
      : (answer.value as PutOutcome);
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    const answer = await this.#ask("delete", key);
    return "refused" in answer ? "unknown" : (answer.value as "done" | "unknown");
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    const answer = await this.#ask("list", prefix);
    return "refused" in answer ? unavailable(answer.refused) : (answer.value as readonly string[]);
  }

  async close(): Promise<void> {
    await this.#ask("close");
    await this.#worker.terminate();
  }

  #ask(operation: keyof Store, ...parameters: readonly unknown[]): Promise<Answer> {
    if (this.death !== undefined) return Promise.resolve({ refused: this.death.message });
    const id = ++this.#lastId;
    return new Promise((settle) => {
      this.#waiting.set(id, settle);
      this.#worker.postMessage({ id, operation, parameters } satisfies Request);
    });
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
