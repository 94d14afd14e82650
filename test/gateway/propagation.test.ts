/**
 * Two nodes on one store: what is published, rotated or revoked beside them is in force on both. How soon is shown with
 * the clock in hand in follow.test.ts; here real nodes are waited for.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { revocationOf, revoke } from "../../src/revoke.ts";
import { changeKeyring } from "../../src/rotate.ts";
import { type SignedRequest, send, signCall } from "../../src/sdk/client.ts";
import { Secret } from "../../src/secret.ts";
import { type Server, startServer } from "../../src/server.ts";
import type { Signer } from "../../src/signature/scheme.ts";
import type { Store } from "../../src/store/contract.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { decodeToken } from "../../src/token/envelope.ts";
import { activeKey, retireKey, rotateKeyring } from "../../src/token/keyring.ts";
import type { Revocation } from "../../src/token/revocation.ts";
import { codeOf, inOneHour, MASTER, mintToken, must, narrow, newSigner, random } from "../support/gate.ts";
import { wire } from "../support/raw.ts";
import { publishTenant, type Shape } from "../support/tenant.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-propagation-"));
let store: Store;
let nodes: readonly Server[];

const startNode = async (): Promise<Server> => {
  const options = {
    store: sqliteStore(directory),
    master: MASTER,
    host: "127.0.0.1",
    port: 0,
    authorities: [],
  };
  return must(await startServer({ ...options, write: () => {} }));
};

beforeAll(async () => {
  store = sqliteStore(directory);
  await publishTenant(store, "first");
  nodes = [await startNode(), await startNode()];
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop(0)));
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

let tenants = 0;
/** A tenant of its own for each test, known to both nodes. */
async function freshTenant(shape: Shape = {}): Promise<string> {
  const tenant = `tenant-${++tenants}`;
  await publishTenant(store, tenant, shape);
  for (const node of nodes) await until(async () => node.tenants.includes(tenant));
  return tenant;
}

async function mintIn(tenant: string, ...caveats: readonly string[]): Promise<string> {
  const key = activeKey(must(await readKeyring(store, tenant, MASTER)));
  if (key === undefined) throw new Error("no key");
  return mintToken(key, ["actor = thing/1", inOneHour(), ...caveats], tenant);
}

/** What a node says to a call that no actor type knows: so much about token and signature only, and no owner is needed. */
async function ask(
  node: Server,
  tenant: string,
  token: string,
  signer: Signer = newSigner(),
): Promise<string> {
  const caller = { url: node.url, token, signer, now_ms: () => Date.now(), random };
  return codeOf(await send(signCall(caller, { tenant, actor: "thing/1", message: "nonsense" }), fetch));
}
const PASSES = "no_such_message";

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()) && tries < 400; tries++) await setTimeout(50);
}

/** What each node says at last: this, unless that takes much longer than it may. */
async function bothSay(code: string, ...call: [string, string, Signer?]): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const node of nodes) {
    await until(async () => (await ask(node, ...call)) === code);
    answers.push(await ask(node, ...call));
  }
  return answers;
}

describe("on both nodes", () => {
  it("a policy published anew is in force", async () => {
    const tenant = await freshTenant();
    const token = await mintIn(tenant);
    expect(await bothSay(PASSES, tenant, token)).toEqual([PASSES, PASSES]);
    await publishTenant(store, tenant, { holder: "required" });
    expect(await bothSay("token_invalid", tenant, token)).toEqual(["token_invalid", "token_invalid"]);
  });

  it("a rotated key mints, the old one verifies until it is retired", async () => {
    const tenant = await freshTenant();
    const old = await mintIn(tenant);
    must(await changeKeyring(store, tenant, MASTER, (ring) => rotateKeyring(ring, random), random));
    const young = await mintIn(tenant);
    expect(await bothSay(PASSES, tenant, young)).toEqual([PASSES, PASSES]);
    expect(await bothSay(PASSES, tenant, old)).toEqual([PASSES, PASSES]);
    must(await changeKeyring(store, tenant, MASTER, (ring) => retireKey(ring, 1), random));
    expect(await bothSay("token_invalid", tenant, old)).toEqual(["token_invalid", "token_invalid"]);
    expect(await bothSay(PASSES, tenant, young)).toEqual([PASSES, PASSES]);
  });

  it("a key that replaced another under the same number verifies its own tokens only, warm ones included", async () => {
    const tenant = await freshTenant();
    const old = await mintIn(tenant);
    for (const _ of [1, 2, 3]) expect(await bothSay(PASSES, tenant, old)).toEqual([PASSES, PASSES]);
    const replaced = [{ kid: 1, state: "active" as const, secret: new Secret(random(32)) }];
    must(await changeKeyring(store, tenant, MASTER, () => replaced, random));
    expect(await bothSay("token_invalid", tenant, old)).toEqual(["token_invalid", "token_invalid"]);
    expect(await bothSay(PASSES, tenant, await mintIn(tenant))).toEqual([PASSES, PASSES]);
  });

  it.each(["token", "subtree", "holder", "kid", "tenant"] as const)(
    "what is revoked by %s is refused with all that descend from it, and nothing else",
    async (kind) => {
      const tenant = await freshTenant();
      const signer = newSigner();
      const above = await mintIn(tenant, `holder = ${signer.publicKey}`);
      const target = narrow(above, "message in nonsense,go");
      const below = narrow(target, "message in nonsense");
      const sibling = narrow(above, "message in nonsense");
      const other = await mintIn(tenant);
      const ring = must(await readKeyring(store, tenant, MASTER));
      const orders: Readonly<Record<typeof kind, Pick<Revocation, "kind" | "value" | "until_ms">>> = {
        token: must(revocationOf(must(decodeToken(target)), ring, "token")),
        subtree: must(revocationOf(must(decodeToken(target)), ring, "subtree")),
        holder: { kind, value: signer.publicKey },
        kid: { kind, value: "1" },
        tenant: { kind, value: tenant },
      };
      expect(await bothSay(PASSES, tenant, below, signer)).toEqual([PASSES, PASSES]);
      const now_ms = Date.now();
      const entry = { ...orders[kind], at: new Date(now_ms).toISOString() };
      expect(await revoke(store, tenant, entry, { now_ms, random })).toBe(true);
      expect(await bothSay("token_revoked", tenant, target, signer)).toEqual([
        "token_revoked",
        "token_revoked",
      ]);
      expect(await bothSay("token_revoked", tenant, below, signer)).toEqual([
        "token_revoked",
        "token_revoked",
      ]);
      const related = kind === "subtree" ? PASSES : "token_revoked";
      expect(await bothSay(related, tenant, above, signer)).toEqual([related, related]);
      expect(await bothSay(related, tenant, sibling, signer)).toEqual([related, related]);
      const unrelated = kind === "kid" || kind === "tenant" ? "token_revoked" : PASSES;
      expect(await bothSay(unrelated, tenant, other)).toEqual([unrelated, unrelated]);
      expect(await bothSay(PASSES, "first", await mintIn("first"), signer)).toEqual([PASSES, PASSES]);
    },
  );

  it("a tenant published later is served", async () => {
    const tenant = await freshTenant();
    expect(await bothSay(PASSES, tenant, await mintIn(tenant))).toEqual([PASSES, PASSES]);
  });
});

it("a handler published anew runs on the node that owns the actor", async () => {
  const tenant = await freshTenant({ reply: 1 });
  const token = await mintIn(tenant);
  // The one that started last has taken the shard.
  const [, node] = nodes;
  if (node === undefined) throw new Error("no node");
  const go = async (): Promise<unknown> => {
    const caller = { url: node.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
    return send(signCall(caller, { tenant, actor: "thing/1", message: "go" }), fetch);
  };
  expect(await go()).toEqual({ status: 200, result: 1 });
  await publishTenant(store, tenant, { reply: 2 });
  await until(async () => JSON.stringify(await go()).includes('"result":2'));
  expect(await go()).toEqual({ status: 200, result: 2 });
});

/** The call on a socket, but for its last byte, and all that the node answers. */
function begin(node: Server, call: SignedRequest): { finish(): void; readonly answer: Promise<string> } {
  const request = wire(call);
  const socket = connect(Number(new URL(node.url).port), "127.0.0.1");
  socket.write(request.subarray(0, -1));
  const answer = Array.fromAsync(socket).then((chunks) => Buffer.concat(chunks).toString());
  return { finish: () => void socket.write(request.subarray(-1)), answer };
}

it("a token that is revoked while the body of its call arrives has no effect; later, no body is waited for", async () => {
  const tenant = await freshTenant();
  const [, node] = nodes;
  if (node === undefined) throw new Error("no node");
  const token = await mintIn(tenant);
  const caller = { url: node.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
  const go = (): SignedRequest => signCall(caller, { tenant, actor: "thing/1", message: "go" });
  const begun = begin(node, go());
  // So that the token has been verified before, as far as it can be.
  expect(await bothSay(PASSES, tenant, token)).toEqual([PASSES, PASSES]);
  const now_ms = Date.now();
  const entry = { kind: "tenant", value: tenant, at: new Date(now_ms).toISOString() } as const;
  must(await revoke(store, tenant, entry, { now_ms, random }));
  expect(await bothSay("token_revoked", tenant, token)).toEqual(["token_revoked", "token_revoked"]);
  begun.finish();
  const refusal = /^HTTP\/1\.1 401[^]*"code":"token_revoked"/;
  expect(await begun.answer).toMatch(refusal);
  expect(await begin(node, go()).answer).toMatch(refusal);
});
