/** Passing a call on, over real sockets: not a byte is changed on its way, nor on the way of its answer. */
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { forward, HOPS_HEADER, type Leader, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import { isRefusal, type Refusal, refuse, toProblem } from "../../src/errors.ts";
import { FORWARD_MARGIN_MS } from "../../src/limits.ts";
import { problemResponse } from "../../src/record/reply.ts";
import { addressOf, closeHttp, createHttp, listen } from "../../src/server/http.ts";
import { undiciSender } from "../../src/server/send.ts";
import { isWhole, type RawServer, reply, startRawServer } from "../support/raw-server.ts";

/** A node that leads, and answers every request with these bytes. */
async function leading(answer: Buffer): Promise<RawServer> {
  const server = await startRawServer((socket, request) => {
    if (!isWhole(request)) return false;
    socket.write(answer);
    return true;
  });
  onTestFinished(() => server.end());
  return server;
}

/** A node that passes every request on: where it listens. */
async function passing(leader: Leader, remaining_ms = 5000): Promise<string> {
  const { send, close } = undiciSender();
  const http = createHttp(async (request) => {
    const body = new Uint8Array(await request.arrayBuffer());
    const outcome = await forward(send, { request, body, hops: 0, more: {} }, leader, remaining_ms);
    if (outcome === "unsent") return new Response("unsent", { status: 599 });
    return isRefusal(outcome) ? problemResponse(outcome, "here") : outcome;
  });
  await listen(http, "127.0.0.1", 0);
  onTestFinished(async () => {
    await closeHttp(http);
    await close();
  });
  return addressOf(http).url;
}

/** Sends these bytes to a node. @returns all that it answers */
async function exchanged(url: string, bytes: Buffer): Promise<Buffer> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write(bytes);
  return Buffer.concat(await Array.fromAsync(socket as AsyncIterable<Buffer>));
}

interface Message {
  readonly first: string;
  /** Name in lower case and value, sorted. */
  readonly fields: readonly string[];
  readonly body: string;
}

/** One HTTP message; a character stands for a byte. */
function parsed(bytes: Buffer): Message {
  const text = bytes.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const fields = lines.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
  return { first, fields: fields.toSorted((a, b) => (a < b ? -1 : 1)), body: text.slice(end + 4) };
}

const LEADS = "HTTP/1.1 200 OK";
/** As the signing side sends it; values as they may be: long, empty, not ASCII, quoted. */
const FIELDS = [
  "host: gate.example:8443",
  "authorization: Macaroon pst_abc-_123",
  'signature-input: sig=("@method" "@authority");created=1;nonce="a b"',
  "signature: sig=:AAAA+/==:",
  'idempotency-key: "k, \\u00fc"',
  "content-type: application/json; charset=utf-8",
  "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  "request-timeout-ms: 1234",
  "x-latin: \u00fc\u00ff",
  "x-empty: ",
  `x-long: ${"l".repeat(8000)}`,
];

describe("a call that is passed on", () => {
  it("arrives as it came: method, path, query, headers and body, byte for byte", async () => {
    const leader = await leading(reply([LEADS]));
    const url = await passing({ url: leader.url, life: undefined });
    const body = Buffer.from(Uint8Array.from({ length: 70_000 }, (_, i) => i % 251));
    const head = [
      "POST /v1/demo/account/a%2Fb%20c/deposit?x=%C3%BC&y HTTP/1.1",
      ...FIELDS,
      `content-length: ${body.length}`,
      "connection: close",
    ];
    await exchanged(url, Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`, "latin1"), body]));
    const received = parsed(leader.received());
    expect(received.first).toBe("POST /v1/demo/account/a%2Fb%20c/deposit?x=%C3%BC&y HTTP/1.1");
    const added = [
      `${HOPS_HEADER}: 1`,
      `${REMAINING_HEADER}: 5000`,
      "connection: keep-alive",
      `content-length: ${body.length}`,
    ];
    expect(received.fields).toEqual([...FIELDS, ...added].toSorted((a, b) => (a < b ? -1 : 1)));
    expect(received.body).toBe(body.toString("latin1"));
  });

  it("takes what belongs to its connection not along, be it said twice or in pieces", async () => {
    const leader = await leading(reply([LEADS]));
    const url = await passing({ url: leader.url, life: undefined });
    const head = [
      "POST /v1/demo/account/1/open HTTP/1.1",
      "host: gate.example",
      "keep-alive: timeout=5",
      "te: trailers",
      "transfer-encoding: chunked",
      "expect: 100-continue",
      // A caller may claim to be a node: what this node says counts.
      `${HOPS_HEADER}: 7`,
      `${REMAINING_HEADER}: 999999`,
      "connection: close",
    ];
    await exchanged(url, Buffer.from(`${head.join("\r\n")}\r\n\r\n2\r\n{}\r\n0\r\n\r\n`, "latin1"));
    const { fields, body } = parsed(leader.received());
    expect(fields).toEqual(
      [
        "connection: keep-alive",
        "content-length: 2",
        "host: gate.example",
        `${HOPS_HEADER}: 1`,
        `${REMAINING_HEADER}: 5000`,
      ].toSorted((a, b) => (a < b ? -1 : 1)),
    );
    expect(body).toBe("{}");
  });

  it("says how long its caller still waits, at least a millisecond, and is waited for a little longer", async () => {
    const asked: (readonly [string | undefined, number])[] = [];
    const request = new Request("http://here/v1/demo/account/1/open", { method: "POST" });
    for (const remaining_ms of [1234.9, 1, 0.2]) {
      await forward(
        async ({ headers, timeout_ms }) => {
          asked.push([headers[REMAINING_HEADER], timeout_ms - FORWARD_MARGIN_MS]);
          return { failed: "unsent" };
        },
        { request, body: new Uint8Array(), hops: 0, more: {} },
        { url: "http://leader", life: undefined },
        remaining_ms,
      );
    }
    expect(asked).toEqual([
      ["1234", 1234.9],
      ["1", 1],
      ["1", expect.closeTo(0.2)],
    ]);
  });
});

describe("the answer", () => {
  const problem = (refusal: Refusal): string => JSON.stringify(toProblem(refusal, "0123456789abcdef"));

  it("comes back as the leader gave it: status, headers, and the bytes of its problem document", async () => {
    // With white space that no serializer would write.
    const document = problem(refuse("out_of_order", "not now", { enabled: ["deposit"] })).replace(
      ",",
      " ,\n ",
    );
    const fields = [
      "content-type: application/problem+json",
      "request-id: 0123456789abcdef",
      "retry-after: 7",
      "cache-control: no-store",
      "idempotency-replayed: true",
      "x-latin: \u00fc",
    ];
    const leader = await leading(
      reply(["HTTP/1.1 409 Conflict", ...fields, "keep-alive: timeout=9"], document),
    );
    const url = await passing({ url: leader.url, life: undefined });
    const head =
      "POST /v1/demo/account/1/open HTTP/1.1\r\nhost: gate.example\r\ncontent-length: 0\r\nconnection: close";
    const answer = parsed(await exchanged(url, Buffer.from(`${head}\r\n\r\n`)));
    expect(answer.first).toBe("HTTP/1.1 409 Conflict");
    expect(answer.fields).toEqual(expect.arrayContaining(fields));
    expect(answer.fields).not.toContain("keep-alive: timeout=9");
    expect(answer.body).toBe(document);
  });

  /** What the passing node makes of an answer. */
  async function outcomeOf(answer: Buffer): Promise<Refusal | string> {
    const leader = await leading(answer);
    const { send, close } = undiciSender();
    onTestFinished(close);
    const request = new Request("http://here/v1/demo/account/1/open", { method: "POST" });
    const incoming = { request, body: new Uint8Array(), hops: 0, more: {} };
    const outcome = await forward(send, incoming, { url: leader.url, life: undefined }, 5000);
    if (isRefusal(outcome) || outcome === "unsent") return outcome;
    return `${outcome.status} ${await outcome.text()}`;
  }

  it("of a node that does not lead names who does, where it says so in good form", async () => {
    const leader = { session: "s", url: "http://other", epoch: 3 };
    const told = refuse("not_leader", "not me", { leader });
    const outcome = await outcomeOf(reply(["HTTP/1.1 421 Misdirected"], problem(told)));
    expect(outcome).toMatchObject({ code: "not_leader", facts: { leader } });
    for (const broken of [
      problem(refuse("not_leader", "not me")),
      "no JSON",
      "",
      "null",
      '{"leader":{"session":"s"}}',
      '{"leader":{"session":"s","url":"u","epoch":"3"}}',
    ]) {
      const answered = await outcomeOf(reply(["HTTP/1.1 421 Misdirected"], broken));
      expect(answered, broken).toMatchObject({ code: "not_leader", facts: {} });
    }
  });

  it("of a node that is ending is no answer: somebody else leads in a moment", async () => {
    const ending = problem(refuse("draining", "the node is draining"));
    expect(await outcomeOf(reply(["HTTP/1.1 503 Draining"], ending))).toMatchObject({
      code: "draining",
      facts: { retry_after_ms: expect.any(Number) },
    });
    const overloaded = problem(refuse("overloaded", "too much"));
    expect(await outcomeOf(reply(["HTTP/1.1 503 Overloaded"], overloaded))).toBe(`503 ${overloaded}`);
    expect(await outcomeOf(reply(["HTTP/1.1 503 Proxy"], "gone"))).toBe("503 gone");
  });

  it("that does not come leaves open whether the call took effect, unless it was certainly not sent", async () => {
    const cut = await startRawServer((socket) => socket.destroy() !== undefined);
    const { send, close } = undiciSender();
    onTestFinished(close);
    const request = new Request("http://here/v1/demo/account/1/open", { method: "POST" });
    const pass = (url: string, life?: AbortSignal) =>
      forward(send, { request, body: new Uint8Array(), hops: 0, more: {} }, { url, life }, 5000);
    expect(await pass(cut.url)).toMatchObject({ code: "outcome_unknown" });
    await cut.end();
    expect(await pass(cut.url)).toBe("unsent");
    const life = new AbortController();
    const silent = await startRawServer((_, whole) => {
      if (isWhole(whole)) life.abort();
      return false;
    });
    onTestFinished(() => silent.end());
    expect(await pass(silent.url, life.signal)).toMatchObject({ code: "outcome_unknown" });
  });
});

it("a request that came over no wire is passed on under the host that it names", async () => {
  const leader = await leading(Buffer.from(`${LEADS}\r\ncontent-length: 2\r\n\r\n{}`));
  const { send, close } = undiciSender();
  onTestFinished(close);
  const request = new Request("http://gate.example:8443/v1/demo/account/1/open", { method: "POST" });
  const to = { url: leader.url, life: undefined };
  await forward(send, { request, body: new Uint8Array(), hops: 0, more: {} }, to, 5000);
  expect(parsed(leader.received()).fields).toContain("host: gate.example:8443");
});
