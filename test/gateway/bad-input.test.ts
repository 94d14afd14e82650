/** Whatever arrives: its own code for each kind, no stack trace, no secret in the log, and the process lives on. */
import fc from "fast-check";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toBase64url, toHex, utf8 } from "../../src/bytes.ts";
import {
  BODY_BYTES_MAX,
  HEADERS_BYTES_MAX,
  JSON_DEPTH_MAX,
  REQUEST_TIMEOUT_MS_MAX,
} from "../../src/limits.ts";
import { type Caller, type SignedRequest, send, signRequest } from "../../src/sdk/client.ts";
import { mintMacaroon } from "../../src/token/chain.ts";
import { encodeJson } from "../../src/token/codec-json.ts";
import { encodeV1 } from "../../src/token/codec-v1.ts";
import { encodeV2 } from "../../src/token/codec-v2.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { call, codeOf, freshAccount, must, party, startGate, type TestGate } from "../support/gate.ts";
import { exchange, wire } from "../support/raw.ts";

let gate: TestGate;
let ada: Caller;
const actor = freshAccount();
const path = `/v1/demo/${actor}/balance`;

beforeAll(async () => {
  gate = await startGate();
  ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
});
afterAll(() => gate.end());

const fresh = (more: Record<string, string> = {}): SignedRequest => signRequest(ada, path, utf8("{}"), more);
const withBody = (body: string | Uint8Array): SignedRequest =>
  signRequest(ada, path, typeof body === "string" ? utf8(body) : new Uint8Array(body));

/** The code that a request is answered with, sent byte by byte as `wire` writes it. */
async function codeOnWire(bytes: Uint8Array): Promise<string> {
  const { status, body } = await exchange(gate.server.url, bytes);
  return status === 200 ? "200" : (JSON.parse(body) as { code: string }).code;
}

describe("bodies", () => {
  it("past the bound are too large, declared or not", async () => {
    const body = new Uint8Array(BODY_BYTES_MAX + 1).fill(0x20);
    expect(codeOf(await send(withBody(body), fetch))).toBe("too_large");
    const { url, headers } = withBody(body);
    const undeclared = new ReadableStream({
      start(controller) {
        for (let at = 0; at < body.length; at += 65_536) controller.enqueue(body.subarray(at, at + 65_536));
        controller.close();
      },
    });
    const response = await fetch(url, { method: "POST", headers, duplex: "half", body: undeclared });
    expect(await response.json()).toMatchObject({ code: "too_large" });
  });

  it("are not waited for where the caller is nobody", async () => {
    const { url, headers } = fresh();
    const forged = { ...headers, signature: `sig=:${Buffer.alloc(64, 1).toString("base64")}:` };
    const never = new ReadableStream({ start: (controller) => controller.enqueue(utf8("{")) });
    const response = await fetch(url, { method: "POST", headers: forged, duplex: "half", body: never });
    expect(await response.json()).toMatchObject({ code: "signature_invalid" });
  });

  it("that were changed do not match their digest; cut ones are not waited for", async () => {
    const request = fresh();
    expect(codeOf(await send({ ...request, body: utf8("[]") }, fetch))).toBe("malformed_request");
    expect((await exchange(gate.server.url, wire(request).slice(0, -1))).status).not.toBe(200);
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{amount: 1}"],
    ["invalid UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
    ["two documents", "{} {}"],
    ["nesting past the bound", "[".repeat(JSON_DEPTH_MAX + 1) + "]".repeat(JSON_DEPTH_MAX + 1)],
    ["nesting without an end", "[".repeat(200_000)],
    ["a __proto__ member", '{"__proto__": {"amount": 1}}'],
    ["a hidden __proto__ member", '{"a": {"\\u005f_proto__": 1}}'],
    ["one name twice", '{"a": 1, "a": 2}'],
    ["too many values", `[${"0,".repeat(150_000)}0]`],
    ["a number past exactness", '{"amount": 9007199254740993}'],
  ])("with %s are malformed", async (_, body) => {
    expect(codeOf(await send(withBody(body), fetch))).toBe("malformed_request");
  });
});

describe("headers", () => {
  it("past the bound are too large, and the answer is a problem document", async () => {
    const bytes = wire(fresh(), [`x-padding: ${"x".repeat(HEADERS_BYTES_MAX)}`]);
    const { status, body } = await exchange(gate.server.url, bytes);
    expect({ status, ...JSON.parse(body) }).toMatchObject({ status: 413, code: "too_large" });
  });

  it.each([
    ["authorization", "token_malformed"],
    ["content-type", "malformed_request"],
    ["content-digest", "signature_invalid"],
    ["signature", "signature_missing"],
    ["signature-input", "signature_missing"],
    ["idempotency-key", "signature_invalid"],
  ])("without %s are refused", async (name, code) => {
    const request = fresh({ "idempotency-key": '"k"' });
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([header]) => header !== name));
    expect(codeOf(await send({ ...request, headers }, fetch))).toBe(code);
  });

  it.each([
    "authorization",
    "content-type",
    "content-digest",
    "signature",
    "signature-input",
    "idempotency-key",
    "request-timeout-ms",
    "host",
  ])("with %s twice are refused", async (name) => {
    const request = fresh({ "idempotency-key": '"k"', "request-timeout-ms": "1000" });
    const value = name === "host" ? new URL(request.url).host : request.headers[name];
    const other = name === "signature" || name === "signature-input" ? value?.replace("sig=", "two=") : value;
    // A repeated dictionary member is the same member (RFC 9651), so the signature still decides.
    const code = await codeOnWire(wire(request, [`${name}: ${other}`]));
    expect(code).toMatch(name === "signature" ? /^200$/ : /malformed|invalid|missing/);
  });

  it.each([
    ["idempotency-key", "unquoted"],
    ["idempotency-key", `"${"k".repeat(256)}"`],
    ["request-timeout-ms", "soon"],
    ["request-timeout-ms", String(REQUEST_TIMEOUT_MS_MAX + 1)],
    ["content-type", "text/plain"],
  ])("with %s: %s are malformed", async (name, value) => {
    expect(codeOf(await send(fresh({ [name]: value }), fetch))).toBe("malformed_request");
  });

  it("naming another host are refused, signed or not", async () => {
    const elsewhere = { ...ada, url: "http://evil.example" };
    const request = signRequest(elsewhere, path, utf8("{}"));
    expect(await codeOnWire(wire(request))).toBe("malformed_request");
  });
});

describe("tokens", () => {
  const withToken = (token: string): Promise<string> =>
    call({ ...ada, token }, actor, "balance").then(codeOf);

  it("that were cut anywhere are truncated, not invalid", async () => {
    for (const keep of [0.2, 0.5, 0.9, 0.99])
      expect(await withToken(ada.token.slice(0, Math.floor(ada.token.length * keep)))).toBe(
        "token_truncated",
      );
  });

  it.each([
    ["an empty envelope", "pst_", "token_truncated"],
    ["foreign characters", "pst_%%%%", "token_malformed"],
    ["several tokens, one of them cut", "pst_AAAA,pst_AAAA", "token_truncated"],
    ["a comma too many", "AgAA,", "token_malformed"],
    ["base64 of nothing known", "aGVsbG8gd29ybGQ", "token_malformed"],
    ["a v2 start only", "AgAA", "token_malformed"],
    ["a v1 start only", toBase64url(utf8("0020location x")), "token_malformed"],
    ["far too long a text", `pst_${"A".repeat(30_000)}`, "token_malformed"],
  ])("with %s are told so", async (_, token, code) => {
    expect(await withToken(token)).toBe(code);
  });

  it("of a discharge that no caveat asks for are refused, though the token be right", async () => {
    const spare = encodeToken(mintMacaroon(gate.key.secret, "a discharge of something else"));
    expect(await withToken(`${ada.token},${spare}`)).toBe("token_invalid");
  });

  it("in another library's format pass", async () => {
    const target = freshAccount();
    const owner = party(gate, target);
    const macaroon = must(decodeToken(owner.token));
    const formats = [encodeV2(macaroon), must(encodeV1(macaroon)), utf8(encodeJson(macaroon))];
    const args = { owner: "Ada" };
    for (const [index, bytes] of formats.entries()) {
      const caller = { ...owner, token: toBase64url(bytes) };
      const idempotencyKey = "the same call, so that it is admitted again";
      expect(codeOf(await call(caller, target, "open", args, { idempotencyKey })), String(index)).toBe("200");
    }
  });

  it("under another scheme are refused", async () => {
    const request = fresh();
    const headers = { ...request.headers, authorization: `Bearer ${ada.token}` };
    expect(codeOf(await send({ ...request, headers }, fetch))).toBe("token_malformed");
  });
});

describe("paths", () => {
  it.each([
    ["/", "malformed_request"],
    ["/v1", "malformed_request"],
    ["/v1/demo/account/42", "malformed_request"],
    ["/v1/demo/account/42/balance/more", "malformed_request"],
    ["/v1/nobody/account/42/balance", "no_such_tenant"],
    ["/v1/__proto__/account/42/balance", "no_such_tenant"],
    ["/v1/DEMO/account/42/balance", "no_such_tenant"],
    ["/v1/demo/constructor/42/balance", "no_such_actor_type"],
    ["/v1/demo/account/%34%32/balance", "malformed_request"],
    ["/v1/demo/account/a%2Fb/balance", "malformed_request"],
    [`/v1/demo/account/${"x".repeat(129)}/balance`, "malformed_request"],
    ["/v1/demo/account/42/balance?x=1", "malformed_request"],
  ])("%s is answered with %s", async (target, code) => {
    const caller = party(gate, target.includes("constructor") ? "constructor/42" : "account/42");
    expect(codeOf(await send(signRequest(caller, target, utf8("{}")), fetch))).toBe(code);
  });

  it.each(["256.256.256.256", "1.2.3.4.5", "127..1", "0x7f.1.1.1.1", "[::1", "a b", "a@b", ""])(
    "under the host %j are refused",
    async (host) => {
      const bytes = Buffer.from(wire(fresh()))
        .toString("latin1")
        .replace(/host: .*/, `host: ${host}`);
      expect(await codeOnWire(Buffer.from(bytes, "latin1"))).toBe("malformed_request");
    },
  );

  it("with other methods are refused", async () => {
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      const response = await fetch(new URL(path, gate.server.url), { method });
      expect(await response.json()).toMatchObject({ code: "malformed_request" });
    }
  });

  it("that are not HTTP at all get a problem document, too", async () => {
    const { status, body } = await exchange(gate.server.url, utf8("\u0016\u0003\u0001 hello\r\n\r\n"));
    expect({ status, ...JSON.parse(body) }).toMatchObject({ status: 400, code: "malformed_request" });
  });
});

/** `FUZZ=20 npx vitest …` looks twenty times longer. */
const FACTOR = Number(process.env["FUZZ"] ?? 1);

describe("law: nothing that arrives breaks the gate", () => {
  /** The status of every answer; 0 where the connection was closed without one. */
  const statuses = new Map<number, number>();
  const note = (status: number): void => void statuses.set(status, (statuses.get(status) ?? 0) + 1);

  it(
    "holds for mutated requests on the wire",
    async () => {
      const edit = fc.record({
        at: fc.integer({ min: 0, max: 9_999 }),
        remove: fc.integer({ min: 0, max: 4 }),
        insert: fc.oneof(
          fc.uint8Array({ maxLength: 4 }),
          fc.constantFrom("\r\n", ",", '"', "%", ";", " ", "[", "=").map(utf8),
        ),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
          let bytes: Uint8Array = wire(fresh({ "idempotency-key": '"fuzz"' }));
          for (const { at, remove, insert } of edits) {
            const start = Math.floor((at / 10_000) * bytes.length);
            bytes = Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]);
          }
          const { status, body } = await exchange(gate.server.url, bytes);
          note(status);
          expect(status).toBeLessThan(500);
          expect(body).not.toMatch(/\bat .*\.(ts|js):\d+/);
        }),
        { numRuns: 1500 * FACTOR },
      );
    },
    60_000 * FACTOR,
  );

  it(
    "holds for correctly signed requests with random content",
    async () => {
      const body = fc.oneof(fc.json().map(utf8), fc.uint8Array({ maxLength: 200 }), fc.string().map(utf8));
      const messages = fc.constantFrom(
        "open",
        "deposit",
        "withdraw",
        "balance",
        "close",
        "constructor",
        "nonsense",
      );
      await fc.assert(
        fc.asyncProperty(body, messages, async (bytes, message) => {
          const request = signRequest(ada, `/v1/demo/${actor}/${message}`, new Uint8Array(bytes));
          const { status } = await send(request, fetch);
          note(status);
          expect(status).toBeLessThan(500);
        }),
        { numRuns: 400 * FACTOR },
      );
    },
    60_000 * FACTOR,
  );

  it(
    "holds for correctly signed batches with random content",
    async () => {
      const name = fc.constantFrom("deposit", "withdraw", "balance", "close", "constructor", "");
      const reference = fc.constantFrom(
        "$0.balance",
        "$1",
        "$0[0]",
        "$0.constructor",
        '$0["a"]',
        "$9.a",
        "$",
      );
      const value = fc.oneof(fc.jsonValue(), fc.record({ $ref: reference }));
      const args = fc.oneof(value, fc.record({ amount: value }));
      const one = fc.oneof({ arbitrary: fc.record({ message: name, args }), weight: 5 }, value);
      await fc.assert(
        fc.asyncProperty(fc.array(one, { maxLength: 5 }), async (calls) => {
          const body = utf8(JSON.stringify(calls));
          const { status } = await send(signRequest(ada, `/v1/demo/${actor}`, body), fetch);
          note(status);
          expect(status).toBeLessThan(500);
        }),
        { numRuns: 400 * FACTOR },
      );
    },
    60_000 * FACTOR,
  );

  it("leaves a gate that still works, and a log without secrets", async () => {
    expect(codeOf(await call(party(gate, freshAccount()), actor, "balance"))).toBe("caveat_denied");
    expect([...statuses.keys()].length, JSON.stringify([...statuses])).toBeGreaterThan(4);
    const log = gate.lines.join("");
    const { signature } = must(decodeToken(ada.token));
    for (const secret of [
      ada.token,
      ada.token.slice(4, 60),
      toHex(signature),
      toBase64url(signature),
      "Macaroon",
      toHex(gate.key.secret.expose()),
    ])
      expect(log.includes(secret)).toBe(false);
    expect(log).not.toContain('"bug"');
  });
});
