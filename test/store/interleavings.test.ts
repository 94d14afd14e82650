/**
 * Several callers of the embedded store at once: whatever the groups that their operations fell into, the answers are
 * those of some serial execution that keeps each caller's order, and the order of what was over before another began.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import type { PutCondition, PutOutcome, Store } from "../../src/store/contract.ts";
import { threadedSqliteStore } from "../../src/store/threaded.ts";

/** What a caller means to do; `stale` takes an older version than it knows. */
type Step =
  | { readonly kind: "create" | "get" | "delete"; readonly key: string }
  | { readonly kind: "update"; readonly key: string; readonly stale: boolean }
  | { readonly kind: "list" };

/** What was asked and answered. */
type Event =
  | {
      readonly did: "put";
      readonly key: string;
      readonly body: string;
      readonly condition: PutCondition;
      readonly answer: PutOutcome;
    }
  | { readonly did: "get"; readonly key: string; readonly answer: Held | undefined }
  | { readonly did: "delete"; readonly key: string }
  | { readonly did: "list"; readonly answer: readonly string[] };

interface Held {
  readonly body: string;
  readonly etag: string;
}

/** The store as it should be, by key. */
type Model = ReadonlyMap<string, Held>;

/** @returns the model after the event, where a store in this state could have answered so. */
function after(model: Model, event: Event): Model | undefined {
  const same = (told: unknown, held: unknown) => JSON.stringify(told) === JSON.stringify(held);
  if (event.did === "get") return same(event.answer, model.get(event.key)) ? model : undefined;
  if (event.did === "list") return same(event.answer, [...model.keys()].toSorted()) ? model : undefined;
  if (event.did === "delete") return new Map([...model].filter(([key]) => key !== event.key));
  const { key, body, condition, answer } = event;
  const etag = model.get(key)?.etag;
  const holds = "ifMatch" in condition ? etag === condition.ifMatch : etag === undefined;
  if (holds !== (answer.outcome === "done")) return undefined;
  return answer.outcome === "done" ? new Map(model).set(key, { body, etag: answer.etag }) : model;
}

/** Every state that some serial execution of the callers' events, each in its order, may end in. */
function endsOf(start: Model, callers: readonly (readonly Event[])[]): Model[] {
  const ends = new Map<string, Model>();
  const seen = new Set<string>();
  const walk = (model: Model, done: readonly number[]): void => {
    const state = JSON.stringify([...model].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    if (seen.has(`${state} ${done.join()}`)) return;
    seen.add(`${state} ${done.join()}`);
    if (done.every((count, caller) => count === callers[caller]?.length)) ends.set(state, model);
    for (const [caller, events] of callers.entries()) {
      const event = events[done[caller] ?? 0];
      const next = event && after(model, event);
      if (next !== undefined) walk(next, done.with(caller, (done[caller] ?? 0) + 1));
    }
  };
  walk(
    start,
    callers.map(() => 0),
  );
  return [...ends.values()];
}

class Caller {
  readonly #store: Store;
  readonly #name: string;
  /** The versions that this caller has seen, the newest last. */
  readonly #seen = new Map<string, string[]>();
  #puts = 0;

  constructor(store: Store, name: string) {
    this.#store = store;
    this.#name = name;
  }

  async do(step: Step): Promise<Event> {
    if (step.kind === "list") {
      const keys = await this.#store.list("");
      if (isRefusal(keys)) throw new Error(keys.detail);
      return { did: "list", answer: keys.toSorted() };
    }
    const { key } = step;
    if (step.kind === "get") {
      const found = await this.#store.get(key);
      if (isRefusal(found)) throw new Error(found.detail);
      if (found === undefined) return { did: "get", key, answer: undefined };
      this.#note(key, found.etag);
      return { did: "get", key, answer: { body: Buffer.from(found.body).toString(), etag: found.etag } };
    }
    if (step.kind === "delete") {
      expect(await this.#store.delete(key)).toBe("done");
      return { did: "delete", key };
    }
    const known = this.#seen.get(key)?.at(step.kind === "update" && step.stale ? 0 : -1) ?? "0";
    const condition: PutCondition = step.kind === "create" ? { ifNoneMatch: "*" } : { ifMatch: known };
    const body = `${this.#name} ${++this.#puts}`;
    const answer = await this.#store.put(key, Buffer.from(body), condition);
    expect(answer.outcome).not.toBe("unknown");
    if (answer.outcome === "done") this.#note(key, answer.etag);
    return { did: "put", key, body, condition, answer };
  }

  #note(key: string, etag: string): void {
    this.#seen.set(key, [...(this.#seen.get(key) ?? []), etag]);
  }
}

const KEYS = ["a", "b"] as const;
const key = fc.constantFrom(...KEYS);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("create" as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("update" as const), key, stale: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("get" as const, "delete" as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("list" as const) }) },
);
/** Of each round, what each caller asks for at once, without waiting in between; the next round waits for all. */
const CALLERS = 4;
const rounds = fc.array(
  fc.array(fc.array(step, { maxLength: 4 }), { minLength: CALLERS, maxLength: CALLERS }),
  { minLength: 1, maxLength: 4 },
);

async function answers(stores: readonly Store[], script: readonly (readonly (readonly Step[])[])[]) {
  const callers = Array.from(
    { length: CALLERS },
    (_, i) => new Caller(stores[i % stores.length] as Store, `caller ${i}`),
  );
  const told: Event[][][] = [];
  for (const round of script)
    told.push(
      await Promise.all(
        callers.map((caller, i) => Promise.all((round[i] ?? []).map((asked) => caller.do(asked)))),
      ),
    );
  return told;
}

test.each([1, 2])("over %i threads, any interleaving is explained by a serial one", async (threads) => {
  const directory = await mkdtemp(join(tmpdir(), "postern-interleavings-"));
  const stores = await Promise.all(Array.from({ length: threads }, () => threadedSqliteStore(directory)));
  onTestFinished(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await rm(directory, { recursive: true });
  });
  await fc.assert(
    fc.asyncProperty(rounds, async (script) => {
      for (const name of KEYS) await stores[0]?.delete(name);
      let states: Model[] = [new Map()];
      for (const round of await answers(stores, script)) {
        states = states.flatMap((state) => endsOf(state, round));
        expect(states.length).toBeGreaterThan(0);
      }
    }),
    { numRuns: 200 },
  );
});

test("the checker knows what no serial execution explains", () => {
  const create = (body: string, answer: PutOutcome): Event => ({
    did: "put",
    key: "a",
    body,
    condition: { ifNoneMatch: "*" },
    answer,
  });
  const done = create("x", { outcome: "done", etag: "1" });
  const conflict = create("y", { outcome: "conflict" });
  const absent: Event = { did: "get", key: "a", answer: undefined };
  const empty: Model = new Map();
  expect(endsOf(empty, [[done], [conflict], [absent]])).toHaveLength(1);
  expect(endsOf(empty, [[done, absent]])).toEqual([]);
  expect(endsOf(empty, [[done], [create("y", { outcome: "done", etag: "2" })]])).toEqual([]);
  expect(endsOf(empty, [[conflict], [absent]])).toEqual([]);
  expect(
    endsOf(empty, [[done], [{ did: "list", answer: [] }, conflict, { did: "list", answer: [] }]]),
  ).toEqual([]);
});
