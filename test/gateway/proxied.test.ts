/** Behind a proxy that changes what was signed, the caller is told what. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Caller, send } from "../../src/sdk/client.ts";
import { newHolder } from "../../src/signature/holder.ts";
import {
  call,
  codeOf,
  freshAccount,
  inOneHour,
  mintToken,
  narrow,
  party,
  random,
  signed,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { postern } from "../support/postern.ts";
import { type Passing, type RewritingProxy, startRewritingProxy } from "../support/rewriting-proxy.ts";

let proxy: RewritingProxy;
let gate: TestGate;
let ada: Caller;
const actor = freshAccount();
const hostOf = (url: string): string => new URL(url).host;

beforeAll(async () => {
  proxy = await startRewritingProxy();
  gate = await startGate(undefined, "policies", { authorities: [hostOf(proxy.url), "gate.example"] });
  proxy.target = gate.server.url;
  ada = { ...party(gate, actor), url: proxy.url };
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
});
beforeEach(() => {
  proxy.rewrite = () => {};
});
afterAll(async () => {
  await gate.end();
  await proxy.end();
});

/** The token's header, as it may be shown. */
const digest = (value: string): string =>
  `SHA-256 ${createHash("sha256").update(value).digest("hex").slice(0, 16)}…`;

async function through(rewrite: (passing: Passing) => void) {
  proxy.rewrite = rewrite;
  const request = signed(ada, actor, "deposit", { amount: 1 }, { idempotencyKey: "k" });
  const outcome = await send(request, fetch);
  const { differs } = "problem" in outcome ? outcome : {};
  return { code: codeOf(outcome), differs, outcome };
}

describe("what the proxy changed is named, and nothing else", () => {
  it("nothing", async () => {
    expect(await through(() => {})).toMatchObject({ code: "200", differs: undefined });
  });

  it.each(["gate.example", "localhost:PORT"])("the host, to another one of the gate's: %s", async (other) => {
    const host = other.replace("PORT", new URL(gate.server.url).port);
    expect(await through(({ headers }) => (headers.host = host))).toMatchObject({
      code: "signature_invalid",
      differs: [`@authority: signed ${hostOf(proxy.url)}, received ${host}`],
    });
  });

  it("the host, to one that is not the gate's: no header makes it one", async () => {
    const spoof = ({ headers }: Passing) => {
      const host = hostOf(proxy.url);
      Object.assign(headers, {
        host: "10.0.0.7:8787",
        "x-forwarded-host": host,
        forwarded: `host="${host}"`,
      });
    };
    expect(await through(spoof)).toMatchObject({
      code: "malformed_request",
      differs: [`@authority: signed ${hostOf(proxy.url)}, received 10.0.0.7:8787`],
    });
  });

  it("the path", async () => {
    const signedPath = `/v1/demo/${actor}/deposit`;
    const path = signedPath.replace("deposit", "withdraw");
    expect(await through((passing) => (passing.path = path))).toMatchObject({
      code: "signature_invalid",
      differs: [`@path: signed ${signedPath}, received ${path}`],
    });
    expect(await through((passing) => (passing.path = `/api${signedPath}`))).toMatchObject({
      code: "malformed_request",
      differs: [`@path: signed ${signedPath}, received /api${signedPath}`],
    });
  });

  it("a path of any length, by a digest", async () => {
    const long = `/v1/${"x".repeat(5000)}/a/b/c/d`;
    const { differs } = await through((passing) => (passing.path = long));
    expect(differs).toEqual([`@path: signed /v1/demo/${actor}/deposit, received ${digest(long)}`]);
  });

  it("the query", async () => {
    expect(await through((passing) => (passing.path += "?utm=1"))).toMatchObject({
      code: "malformed_request",
      differs: ["@query: signed ?, received ?utm=1"],
    });
  });

  it("the token, of which only a digest is shown", async () => {
    const sent = `Macaroon ${ada.token}`;
    const other = `Macaroon ${narrow(ada.token, "message in deposit")}`;
    const changed = await through(({ headers }) => (headers.authorization = other));
    expect(changed).toMatchObject({
      code: "signature_invalid",
      differs: [`authorization: signed ${digest(sent)}, received ${digest(other)}`],
    });
    expect(JSON.stringify(changed.outcome)).not.toContain(ada.token.slice(4, 30));
    const gone = await through(({ headers }) => delete headers.authorization);
    expect(gone).toMatchObject({
      code: "token_malformed",
      differs: [`authorization: signed ${digest(sent)}, received nothing`],
    });
  });

  it("the idempotency key", async () => {
    expect(await through(({ headers }) => (headers["idempotency-key"] = '"other"'))).toMatchObject({
      code: "signature_invalid",
      differs: ['idempotency-key: signed "k", received "other"'],
    });
  });

  it("the body with its digest", async () => {
    const body = Buffer.from('{"amount":1000}');
    const field = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    const { code, differs } = await through((passing) => {
      passing.body = body;
      passing.headers["content-digest"] = field;
    });
    expect(code).toBe("signature_invalid");
    expect(differs).toEqual([expect.stringMatching(/^content-digest: signed sha-256=.*, received sha-256=/)]);
  });

  it("several at once", async () => {
    const { differs } = await through((passing) => {
      passing.headers.host = "gate.example";
      passing.path = passing.path.replace("deposit", "close");
    });
    expect(differs?.map((what) => what.split(":")[0])).toEqual(["@authority", "@path"]);
  });
});

describe("an answer that is the proxy's own", () => {
  it.each([
    ["null", null],
    ["a text", "no"],
    ["what looks like a gate's, and is not", { code: "x", received: { "@path": 7 }, challenge: "a b" }],
  ])("%s is handed on", async (_, answer) => {
    const request = signed(ada, actor, "balance");
    let sent = 0;
    const outcome = await send(request, async () => {
      sent++;
      return { status: 502, json: async () => answer };
    });
    expect(outcome).toMatchObject({ status: 502, problem: answer });
    expect(sent).toBe(1);
  });
});

it("`postern call` says it, too", async () => {
  const { secret, publicKey } = newHolder("bip340", random);
  const key = join(gate.directory, "key");
  writeFileSync(key, secret);
  const token = mintToken(gate.key, [`actor = ${actor}`, inOneHour(), `holder = ${publicKey}`]);
  proxy.rewrite = ({ headers }) => (headers.host = "gate.example");
  const { code, stdout } = await postern(["call", actor, "balance", "--key", key, "--url", proxy.url], {
    stdin: token,
  });
  expect(code).toBe(1);
  expect(stdout).toContain(
    `changed on the way: @authority: signed ${hostOf(proxy.url)}, received gate.example`,
  );
});
