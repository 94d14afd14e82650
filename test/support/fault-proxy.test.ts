/** The fault proxy against a small server on a real socket: what passes is untouched, and each fault is what it says. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Client } from "undici";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { seededPlan } from "./fault-plan.ts";
import { type Fault, type FaultProxy, type Plan, startFaultProxy } from "./fault-proxy.ts";
import { Seeded } from "./seeded.ts";

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
/** Far longer than the test waits, so that only what is awaited can let it go on. */
const LONG_MS = 60_000;

let upstream: Server;
let seen: Seen[];
/** The server answers once this is resolved. */
let released: Promise<void>;
let proxy: FaultProxy;
let clients: Client[];

beforeEach(async () => {
  seen = [];
  clients = [];
  released = Promise.resolve();
  upstream = createServer((incoming, response) => void answer(incoming, response));
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  proxy = await startFaultProxy(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, 2);
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.destroy()));
  await proxy.end();
  upstream.closeAllConnections();
  upstream.close();
});

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const { method = "", url: path = "", rawHeaders: headers } = incoming;
  seen.push({ method, path, headers, body: Buffer.concat(chunks) });
  await released;
  response.writeHead(201, ["ETag", '"v1"', "X-Twice", "a", "X-Twice", "b", "Content-Length", "256"]);
  response.end(BYTES);
}

function gate(index = 0): FaultProxy["gates"][number] {
  const found = proxy.gates[index];
  if (found === undefined) throw new Error("no such gate");
  return found;
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { interval: 1, timeout: 10_000 });

const always =
  (fault: Fault | undefined, latency_ms = 0): Plan =>
  () => ({ latency_ms, fault });

async function put(index = 0, signal?: AbortSignal): Promise<{ status: number; body: Buffer }> {
  const client = new Client(gate(index).url);
  clients.push(client);
  const { statusCode, body } = await client.request({
    method: "PUT",
    path: "/bucket/a%2Fb%20c/../d?x=%2B&y",
    headers: ["Host", "s3.example:9000", "If-None-Match", "*", "X-Twice", "a", "X-Twice", "b"],
    body: BYTES,
    ...(signal !== undefined && { signal }),
  });
  return { status: statusCode, body: Buffer.from(await body.arrayBuffer()) };
}

const OK = { status: 201, body: BYTES };

describe("passes on", () => {
  it("a request as it was sent: host, path, headers, body", async () => {
    expect(await put()).toEqual(OK);
    const [request] = seen;
    expect(request).toMatchObject({ method: "PUT", path: "/bucket/a%2Fb%20c/../d?x=%2B&y", body: BYTES });
    const pairs = (request?.headers ?? []).flatMap((name, index, all) =>
      index % 2 === 0 ? `${name.toLowerCase()}: ${all[index + 1]}` : [],
    );
    expect(pairs.filter((pair) => !pair.startsWith("connection"))).toEqual([
      "host: s3.example:9000",
      "if-none-match: *",
      "x-twice: a",
      "x-twice: b",
      "content-length: 256",
    ]);
  });

  it("an answer as it came, a request without a body, and one after the other", async () => {
    const client = new Client(gate().url);
    clients.push(client);
    for (let round = 0; round < 3; round++) {
      const { statusCode, headers, body } = await client.request({ method: "GET", path: "/" });
      expect(statusCode).toBe(201);
      expect(headers).toMatchObject({ etag: '"v1"', "x-twice": ["a", "b"], "content-length": "256" });
      expect(Buffer.from(await body.arrayBuffer())).toEqual(BYTES);
    }
    expect(seen.map(({ body }) => body.length)).toEqual([0, 0, 0]);
    expect(gate().counts.get("passed")).toBe(3);
  });
});

describe("fails on purpose", () => {
  const error = { status: 503, code: "SlowDown" };

  it.each<[Fault, number]>([
    [{ kind: "error_before", error }, 0],
    [{ kind: "error_after", error }, 1],
  ])("with an error in S3's words: %j", async (fault, passed) => {
    gate().plan = always(fault);
    const { status, body } = await put();
    expect(status).toBe(503);
    expect(body.toString()).toContain("<Error><Code>SlowDown</Code>");
    expect(seen.length).toBe(passed);
  });

  it.each<[Fault, number]>([
    [{ kind: "cut_before" }, 0],
    [{ kind: "cut_after" }, 1],
  ])("by cutting the connection: %j", async (fault, passed) => {
    gate().plan = always(fault);
    await expect(put()).rejects.toThrow("other side closed");
    expect(seen.length).toBe(passed);
    expect(gate().counts.get(fault.kind)).toBe(1);
  });

  it("by passing on late, also when the sender has given up", async () => {
    gate().plan = always({ kind: "late_request", wait_ms: 500 });
    const impatient = new AbortController();
    const sent = put(0, impatient.signal);
    await eventually(() => expect(gate().counts.get("late_request")).toBe(1));
    impatient.abort();
    await expect(sent).rejects.toThrow();
    await eventually(() => expect(seen.length).toBe(1));
  });

  it("by answering late", async () => {
    gate().plan = always({ kind: "late_answer", wait_ms: LONG_MS });
    const sent = put();
    await eventually(() => expect(seen.length).toBe(1));
    await expect(Promise.race([sent, Promise.resolve("waiting")])).resolves.toBe("waiting");
    await proxy.end();
    await expect(sent).rejects.toThrow();
  });

  it("by sending a duplicate after the answer", async () => {
    gate().plan = always({ kind: "duplicate", wait_ms: 20 });
    expect(await put()).toEqual(OK);
    await gate().idle();
    expect(seen.length).toBe(2);
    expect(seen[1]).toEqual(seen[0]);
  });

  it("by a conflict that S3 never saw", async () => {
    gate().plan = always({ kind: "conflict" });
    const { status, body } = await put();
    expect(status).toBe(409);
    expect(body.toString()).toContain("<Code>ConditionalRequestConflict</Code>");
    expect(seen.length).toBe(0);
  });

  it("by sending it twice at once, and answering the second", async () => {
    gate().plan = always({ kind: "twice" });
    expect(await put()).toEqual(OK);
    expect(seen.length).toBe(2);
    expect(seen[1]).toEqual(seen[0]);
  });

  it("by never answering", async () => {
    gate().plan = always({ kind: "hang" });
    const impatient = new AbortController();
    const sent = put(0, impatient.signal);
    await eventually(() => expect(seen.length).toBe(1));
    await expect(Promise.race([sent, Promise.resolve("waiting")])).resolves.toBe("waiting");
    impatient.abort();
    await expect(sent).rejects.toThrow();
  });

  it("by latency, beside everything else", async () => {
    gate().plan = always({ kind: "error_before", error }, 20);
    expect(await put()).toMatchObject({ status: 503 });
    gate().plan = always(undefined, LONG_MS);
    const sent = put();
    await expect(Promise.race([sent, Promise.resolve("waiting")])).resolves.toBe("waiting");
    await proxy.end();
    await expect(sent).rejects.toThrow();
    expect(seen).toEqual([]);
  });

  it("by the plan of the moment", async () => {
    gate().plan = always({ kind: "cut_before" });
    await expect(put()).rejects.toThrow();
    gate().plan = always(undefined);
    expect(await put()).toEqual(OK);
  });
});

describe("cuts off one port and no other", () => {
  it("by resetting its connections, until it is healed", async () => {
    gate(0).plan = always({ kind: "late_answer", wait_ms: LONG_MS });
    const underWay = put(0);
    await eventually(() => expect(seen.length).toBe(1));
    gate(0).cutOff("reset");
    await expect(underWay).rejects.toThrow();
    await expect(put(0)).rejects.toThrow();
    expect(await put(1)).toEqual(OK);
    gate(0).plan = always(undefined);
    gate(0).heal();
    expect(await put(0)).toEqual(OK);
    expect(seen.length).toBe(3);
  });

  it("by silence, in which answers under way are lost, too", async () => {
    const { promise, resolve: release } = Promise.withResolvers<void>();
    released = promise;
    const underWay = put(0);
    await eventually(() => expect(seen.length).toBe(1));
    gate(0).cutOff("silence");
    release();
    const later = put(0);
    expect(await put(1)).toEqual(OK);
    await expect(Promise.race([underWay, later, Promise.resolve("waiting")])).resolves.toBe("waiting");
    gate(0).heal();
    await expect(underWay).rejects.toThrow();
    await expect(later).rejects.toThrow();
    expect(await put(0)).toEqual(OK);
    expect(seen.length).toBe(3);
  });
});

describe("a seeded plan", () => {
  const faults = {
    error_before: 0.1,
    error_after: 0.1,
    cut_before: 0.1,
    cut_after: 0.1,
    duplicate: 0.3,
    conflict: 0.1,
    twice: 0.1,
  };
  const rates = { latency_ms: [1, 5], late_ms: [10, 20], faults } as const;
  const decisions = (seed: number, method: string): string[] => {
    const plan = seededPlan(new Seeded(seed), rates);
    return Array.from({ length: 1000 }, () => JSON.stringify(plan({ method, path: "/" })));
  };

  it("follows from its seed", () => {
    expect(decisions(1, "PUT")).toEqual(decisions(1, "PUT"));
    expect(decisions(1, "PUT")).not.toEqual(decisions(2, "PUT"));
  });

  it("decides each fault about as often as told, and the others never", () => {
    const all = decisions(3, "PUT");
    for (const [kind, rate] of Object.entries(faults)) {
      const share = all.filter((decision) => decision.includes(`"${kind}"`)).length / all.length;
      expect(Math.abs(share - rate), kind).toBeLessThan(0.05);
    }
    expect(all.filter((decision) => /late_/.test(decision))).toEqual([]);
  });

  it("repeats only puts, and tells of a conflict only where one was sent", () => {
    const onlyPuts = (method: string): number =>
      decisions(4, method).filter((decision) => /duplicate|twice|conflict/.test(decision)).length;
    expect(onlyPuts("GET")).toBe(0);
    expect(onlyPuts("PUT")).toBeGreaterThan(300);
  });
});
