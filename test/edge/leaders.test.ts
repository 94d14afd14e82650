/** Where an edge node sends a call, and what it makes of silence: store and network in the test's hands. */
import { beforeEach, describe, expect, it } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { nodeKey } from "../../src/cluster/format.ts";
import {
  EDGE_HEADER,
  HOPS_HEADER,
  type OutgoingRequest,
  type SendOutcome,
} from "../../src/cluster/forward.ts";
import { encodeLease, type LeaseRecord } from "../../src/cluster/lease.ts";
import { ensureMeta } from "../../src/cluster/meta.ts";
import { claim, readOwnership } from "../../src/cluster/ownership.ts";
import { Leaders } from "../../src/edge/leaders.ts";
import { isRefusal, type Problem } from "../../src/errors.ts";
import { PLACE_PATIENCE_MS } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { settledPut } from "../../src/store/settle.ts";
import { SILENT } from "../store/intercept.ts";
import { must } from "../support/gate.ts";

const [A, B] = ["a".repeat(16), "b".repeat(16)] as const;
const url = (session: string): string => `http://${session}.internal:1`;

let store: Store;
let now_ms: number;
/** By session; who is not in it does not answer. */
let nodes: Map<string, (request: OutgoingRequest) => SendOutcome>;
let sent: OutgoingRequest[];
let leaders: Leaders;

beforeEach(async () => {
  store = memoryStore();
  now_ms = 0;
  nodes = new Map();
  sent = [];
  leaders = new Leaders({
    name: "fra",
    store,
    now_ms: () => now_ms,
    sleep: async (ms) => {
      now_ms += ms;
    },
    send: async (request) => {
      sent.push(request);
      now_ms += 1;
      const { hostname } = new URL(request.url);
      const node = nodes.get(hostname.split(".")[0] ?? "");
      return node === undefined ? { failed: "unclear" } : node(request);
    },
  });
  must(await ensureMeta(store, 1, "nonce"));
});

const json = (status: number, body: object): SendOutcome => ({
  status,
  headers: { "content-type": "application/json" },
  body: new Uint8Array(utf8(JSON.stringify(body))),
});
const answers = (text: string) => () => json(200, { text });
const refuses =
  (code: Problem["code"], status: number, more: object = {}) =>
  () =>
    json(status, { code, ...more });

async function live(session: string, state: LeaseRecord["state"] = "serving"): Promise<void> {
  const lease = {
    session,
    state,
    url: url(session),
    authorities: [],
    process: "",
    ttl_ms: 1,
    renewed_at: "",
    shards: {},
  };
  await settledPut(store, nodeKey(session), encodeLease({ ...lease, nonce: session }), { ifNoneMatch: "*" });
}

async function lead(session: string): Promise<void> {
  must(await claim(store, 0, must(await readOwnership(store, 0)), session, `${session} ${now_ms}`));
}

const pass = async (deadline_ms = 60_000): Promise<string> => {
  const request = new Request("https://gate.example/v1/demo/account/1/open", {
    method: "POST",
    headers: { "x-mine": "1" },
  });
  const incoming = {
    request,
    body: utf8("{}"),
    hops: 0,
    more: { "postern-client": "c" },
    admit: () => undefined,
  };
  const outcome = await leaders.pass("demo/account/1", incoming, deadline_ms);
  if (isRefusal(outcome)) return outcome.code;
  const { text, code } = (await outcome.json()) as { text?: string; code?: string };
  return text ?? code ?? "";
};
const asked = (): string[] => sent.map((request) => new URL(request.url).hostname.slice(0, 1));

describe("a call", () => {
  it("goes to the node on record as it came, with what the next node must know", async () => {
    await Promise.all([live(A), live(B)]);
    await lead(B);
    nodes.set(B, answers("done"));
    expect(await pass()).toBe("done");
    expect(sent).toMatchObject([
      {
        url: `${url(B)}/v1/demo/account/1/open`,
        method: "POST",
        headers: {
          "x-mine": "1",
          [HOPS_HEADER]: "1",
          [EDGE_HEADER]: "fra gate.example",
          "postern-client": "c",
        },
      },
    ]);
  });

  it("costs the store nothing once the leader is known", async () => {
    await live(A);
    await lead(A);
    nodes.set(A, answers("done"));
    await pass();
    store.get = () => Promise.reject(new Error("asked again"));
    expect(await pass()).toBe("done");
  });

  it("where nobody leads goes to the node that should take the shard", async () => {
    await Promise.all([live(A), live(B)]);
    nodes.set(A, answers("done"));
    nodes.set(B, answers("done"));
    expect(await pass()).toBe("done");
    expect(sent).toHaveLength(1);
  });

  it("does not go to nodes that leave or are dead, unless they lead", async () => {
    await Promise.all([live(A, "draining"), live(B)]);
    nodes.set(B, answers("done"));
    expect(await pass()).toBe("done");
    await lead(A);
    nodes.set(A, answers("still here"));
    nodes.set(B, refuses("not_leader", 421));
    expect(await pass()).toBe("still here");
  });

  it("follows who says that another leads", async () => {
    await Promise.all([live(A), live(B)]);
    await lead(A);
    nodes.set(A, refuses("not_leader", 421, { leader: { session: B, url: url(B), epoch: 2 } }));
    nodes.set(B, answers("done"));
    expect([await pass(), await pass()]).toEqual(["done", "done"]);
    expect(asked()).toEqual(["a", "b", "b"]);
  });

  it("whose node drains is tried again until another takes over", async () => {
    await Promise.all([live(A), live(B)]);
    await lead(A);
    nodes.set(A, () => {
      void lead(B);
      return refuses("draining", 503)();
    });
    nodes.set(B, answers("done"));
    expect(await pass()).toBe("done");
  });
});

describe("silence", () => {
  it("is asked about elsewhere: what took no effect takes it there", async () => {
    await Promise.all([live(A), live(B)]);
    await lead(A);
    nodes.set(B, answers("done"));
    expect(await pass()).toBe("done");
    expect(asked()).toEqual(["a", "b"]);
  });

  it("behind which the call took effect leaves its outcome unknown: its nonce is taken", async () => {
    await live(A);
    await lead(A);
    let calls = 0;
    nodes.set(A, () => (++calls === 1 ? { failed: "unclear" } : refuses("replayed", 401)()));
    expect(await pass()).toBe("outcome_unknown");
    expect(await pass()).toBe("replayed");
  });

  it("that lasts ends in an unknown outcome, in bounded time", async () => {
    await live(A);
    await lead(A);
    expect(await pass()).toBe("outcome_unknown");
    expect(now_ms).toBeLessThan(PLACE_PATIENCE_MS + 1_000);
    expect(await pass(now_ms + 100)).toBe("outcome_unknown");
  });
});

describe("where there is nobody", () => {
  it("the caller may come again", async () => {
    expect(await pass()).toBe("draining");
    expect(now_ms).toBeLessThan(PLACE_PATIENCE_MS + 1_000);
    expect(await pass(now_ms)).toBe("deadline");
  });

  it("or the store does not answer, the call had no effect", async () => {
    store.get = async () => SILENT;
    expect(await pass()).toBe("store_unavailable");
    expect(sent).toEqual([]);
  });
});
