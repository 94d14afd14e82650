/** How long the S3 driver waits for a store that is away: simulated time, and a bucket that comes and goes. */
import fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { S3_RETRIES_MAX, S3_SETTLE_MS, S3_SLOW_READ_MS, S3_TIMEOUT_MS } from "../../src/limits.ts";
import type { PutCondition, Settled, Store } from "../../src/store/contract.ts";
import { s3Store } from "../../src/store/s3.ts";
import { settledPut } from "../../src/store/settle.ts";
import { opened } from "../cluster/harness.ts";
import { s3Options } from "../support/s3-options.ts";
import { type Said, SimulatedWire } from "./simulated-wire.ts";

const ABSENT = { ifNoneMatch: "*" } as const satisfies PutCondition;
const MINE = new TextEncoder().encode("mine");
const ANSWER_MS_MAX = 10_000;

/** How a request fails; two of them after the write was applied. */
const TROUBLES = ["refused", "silence", "applied, then refused", "applied, then silence", 500, 503] as const;
type Trouble = (typeof TROUBLES)[number];

let wire: SimulatedWire;
let store: Store;
let objects: Map<string, { readonly body: Uint8Array; readonly etag: string }>;
let trouble: (now_ms: number, method: string) => Trouble | undefined;

beforeEach(() => {
  vi.restoreAllMocks();
  wire = new SimulatedWire();
  objects = new Map();
  trouble = () => undefined;
  wire.server = ({ method, url, headers, body }) => {
    const now = trouble(wire.now_ms, method);
    if (now === 500 || now === 503) return { status: now };
    if (now === undefined || now.startsWith("applied")) {
      const said = bucket(method, url, headers, body);
      if (now === undefined) return said;
    }
    return now.endsWith("refused") ? "refused" : "silence";
  };
  store = simulatedStore();
});

function simulatedStore(): Store {
  const options = s3Options("s3://bucket?endpoint=http://simulated", { AWS_ACCESS_KEY_ID: "id" });
  const { fetch, after, fraction } = wire;
  return s3Store({ ...options, fetch, after, fraction, now_ms: () => 1_900_000_000_000 + wire.now_ms });
}

function bucket(
  method: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): Said {
  const key = new URL(url).pathname;
  const found = objects.get(key);
  if (method === "GET" && new URL(url).search !== "")
    return { status: 200, body: "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>" };
  if (method === "GET")
    return found === undefined
      ? { status: 404, body: "<Error><Code>NoSuchKey</Code></Error>" }
      : { status: 200, headers: { etag: `"${found.etag}"` }, body: found.body };
  const match = headers["if-match"];
  if (match === undefined ? found !== undefined : match !== `"${found?.etag}"`) return { status: 412 };
  const etag = `v${objects.size}-${body.length}-${wire.sent_ms.length}`;
  objects.set(key, { body, etag });
  return { status: 200, headers: { etag: `"${etag}"` } };
}

const settled = (): Promise<Settled> => wire.finish(settledPut(store, "k", MINE, ABSENT));

describe("a put while the store is away", () => {
  test.each(TROUBLES)("for three seconds (%s) is done when it is back", async (how) => {
    trouble = (now_ms) => (now_ms < 3_000 ? how : undefined);
    expect(await settled()).toMatchObject({ outcome: "won" });
    expect(wire.now_ms).toBeLessThan(ANSWER_MS_MAX);
    expect(objects.get("/bucket/k")?.body).toEqual(MINE);
  });

  test.each(TROUBLES)("for ever (%s) is unknown within ten seconds, after few requests", async (how) => {
    trouble = () => how;
    expect(await settled()).toMatchObject({ outcome: "unknown" });
    expect(wire.now_ms).toBeLessThan(ANSWER_MS_MAX);
    expect(wire.now_ms).toBeGreaterThanOrEqual(S3_SETTLE_MS);
    expect(wire.sent_ms.length).toBeLessThan(100);
  });

  test("is told the truth, whatever fails and when", async () => {
    const phase = fc.record({ how: fc.constantFrom(undefined, ...TROUBLES), for_ms: fc.nat(4_000) });
    const phases = fc.array(phase, { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(phases, phases, fc.boolean(), async (puts, gets, theirs) => {
        objects.clear();
        const start_ms = wire.now_ms;
        trouble = (now_ms, method) => {
          let end_ms = start_ms;
          return (method === "PUT" ? puts : gets).find(({ for_ms }) => now_ms < (end_ms += for_ms))?.how;
        };
        // Somebody else's, in the middle.
        if (theirs) wire.after(1_500, () => void bucket("PUT", "http://h/bucket/k", {}, new Uint8Array(1)));
        const { outcome } = await settled();
        const isMine = objects.get("/bucket/k")?.body.length === MINE.length;
        if (outcome !== "unknown") expect(outcome).toBe(isMine ? "won" : "lost");
        expect(wire.now_ms - start_ms).toBeLessThan(ANSWER_MS_MAX);
        const away_ms = [puts, gets].map((all) => all.reduce((sum, { for_ms }) => sum + for_ms, 0));
        if (Math.max(...away_ms) < 3_000) expect(outcome).not.toBe("unknown");
      }),
      { numRuns: 200 },
    );
  });

  test("that refuses for good is not waited for", async () => {
    wire.server = () => ({ status: 403, body: "<Error><Code>AccessDenied</Code></Error>" });
    expect(await settled()).toEqual({ outcome: "unknown", reason: "it answered 403 AccessDenied" });
    expect(wire.sent_ms).toHaveLength(2);
  });

  test("is waited for longer where the body takes longer", async () => {
    const large = new Uint8Array(8 * 1024 * 1024);
    const slow_ms = S3_TIMEOUT_MS + 4_000;
    wire.server = ({ method, url, headers, body }) => ({
      ...bucket(method, url, headers, body),
      after_ms: method === "PUT" ? slow_ms : 1,
    });
    expect(await wire.finish(settledPut(store, "k", large, ABSENT))).toMatchObject({ outcome: "won" });
  });

  test("is not asked by all at the same moment", async () => {
    trouble = () => 500;
    const puts = Array.from({ length: 32 }, (_, i) => settledPut(store, `k${i}`, MINE, ABSENT));
    await wire.finish(Promise.all(puts));
    const moments = new Map<number, number>();
    for (const at_ms of wire.sent_ms.filter((sent_ms) => sent_ms > 100))
      moments.set(Math.floor(at_ms), (moments.get(Math.floor(at_ms)) ?? 0) + 1);
    expect(Math.max(...moments.values())).toBeLessThan(16);
  });

  test("ends when the store is closed", async () => {
    trouble = () => "refused";
    const put = settledPut(store, "k", MINE, ABSENT);
    wire.after(1_000, () => void store.close());
    expect(await wire.finish(put)).toMatchObject({ outcome: "unknown" });
    expect(wire.now_ms).toBe(1_000);
  });
});

describe("a read", () => {
  const read = (): Promise<unknown> => wire.finish(store.get("k"));
  beforeEach(async () => {
    await wire.finish(store.put("k", MINE, ABSENT));
  });

  test("whose answer does not come is sent once more beside after a second", async () => {
    const start_ms = wire.now_ms;
    let silent = 1;
    trouble = () => (silent-- > 0 ? "silence" : undefined);
    expect(await read()).toMatchObject({ body: MINE });
    expect(wire.now_ms - start_ms).toBeLessThan(1.1 * S3_SLOW_READ_MS);
    expect(wire.sent_ms.length).toBe(3);
  });

  test("is answered by the first where the second fails", async () => {
    let sent = 0;
    const { server } = wire;
    wire.server = (request) => {
      const said = server(request);
      if (typeof said === "string") return said;
      return sent++ === 0 ? { ...said, after_ms: 2 * S3_SLOW_READ_MS } : "refused";
    };
    expect(await read()).toMatchObject({ body: MINE });
    expect(sent).toBe(2);
  });

  test("of a store that takes two seconds for each answer is answered, however many there are", async () => {
    const { server } = wire;
    wire.server = (request) => {
      const said = server(request);
      return typeof said === "string" ? said : { ...said, after_ms: 2_000 };
    };
    const reads = Promise.all(Array.from({ length: 3 * S3_RETRIES_MAX }, () => store.get("k")));
    for (const found of await wire.finish(reads)) expect(found).toMatchObject({ body: MINE });
    expect(wire.sent_ms.length).toBeLessThanOrEqual(1 + 4 * S3_RETRIES_MAX);
  });
});

test.each(TROUBLES)("the log rides out three seconds (%s) without stepping down", async (how) => {
  const owner = await wire.finish(opened(store));
  const start_ms = wire.now_ms;
  trouble = (now_ms) => (now_ms - start_ms < 3_000 ? how : undefined);
  expect(await wire.finish(owner.append('"kept"'))).toBeUndefined();
  expect(owner.stepDowns).toEqual([]);
});
