/** A network and its time, simulated: seconds of outage pass as fast as the code under test can run. */
import { vi } from "vitest";
import type { Fetch, Wire } from "../../src/store/exchange.ts";

type Response = Awaited<ReturnType<Fetch>>;

/** What a server does with a request: answers, or says nothing until it is cut. */
export interface Said {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly after_ms?: number;
}
export type Server = (request: {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}) => Said | "silence" | "refused";

export class SimulatedWire implements Wire {
  now_ms = 0;
  server: Server = () => "refused";
  /** When something was sent. */
  readonly sent_ms: number[] = [];
  readonly #timers = new Set<{ readonly at_ms: number; readonly run: () => void }>();
  #random = 1;
  #encrypting = 0;

  /** Signing runs on threads of the platform: time must not pass meanwhile. */
  constructor() {
    for (const name of ["digest", "importKey", "sign"] as const) {
      const real = crypto.subtle[name].bind(crypto.subtle) as (...values: unknown[]) => Promise<never>;
      vi.spyOn(crypto.subtle, name).mockImplementation(async (...values: unknown[]) => {
        this.#encrypting++;
        try {
          return await real(...values);
        } finally {
          this.#encrypting--;
        }
      });
    }
  }

  readonly after = (wait_ms: number, run: () => void): (() => void) => {
    const timer = { at_ms: this.now_ms + wait_ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  /** The same numbers in each run (Lehmer's generator). */
  readonly fraction = (): number => {
    this.#random = (this.#random * 48_271) % 2_147_483_647;
    return this.#random / 2_147_483_647;
  };

  readonly fetch: Fetch = async (url, { method, headers, body, signal }) => {
    this.sent_ms.push(this.now_ms);
    const said = this.server({ url, method, headers, body: body ?? new Uint8Array() });
    if (said === "refused") throw new Error("fetch failed", { cause: { code: "ECONNREFUSED" } });
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("cut")));
      if (said !== "silence") this.after(said.after_ms ?? 1, resolve);
    });
    return answer(said as Said);
  };

  /** Lets time pass until the work is done. */
  async finish<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const watched = work.finally(() => {
      state.done = true;
    });
    while (!state.done) {
      await this.#quiet();
      if (!state.done) this.#next();
    }
    return watched;
  }

  async #quiet(): Promise<void> {
    for (let turns = 0; turns < 3 || this.#encrypting > 0; turns++)
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
  }

  #next(): void {
    const [timer] = [...this.#timers].toSorted((a, b) => a.at_ms - b.at_ms);
    if (timer === undefined) throw new Error("what is waited for never comes");
    this.#timers.delete(timer);
    this.now_ms = Math.max(this.now_ms, timer.at_ms);
    timer.run();
  }
}

function answer({ status, headers = {}, body = "" }: Said): Response {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  return {
    status,
    headers: { get: (name) => headers[name] ?? null },
    body: (async function* () {
      if (bytes.length > 0) yield bytes;
    })(),
  };
}
