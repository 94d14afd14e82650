/** Capabilities in messages and sends, through a real gate: the demo tenant's quorum, which approves releases. */
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { fromUtf8, toHex, utf8 } from "../../src/bytes.ts";
import type { Json } from "../../src/json.ts";
import { CAPABILITY_LENGTH_MAX } from "../../src/limits.ts";
import {
  type Caller,
  type Description,
  send,
  signCall,
  signDescribe,
  signRequest,
} from "../../src/sdk/client.ts";
import { capability, delegateToken } from "../../src/sdk/delegate.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { guest } from "../dispatch/guests.ts";
import { eventually } from "../support/eventually.ts";
import {
  call,
  codeOf,
  inOneHour,
  MASTER,
  mintToken,
  must,
  narrow,
  newSigner,
  random,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { publishTenant } from "../support/tenant.ts";

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

/** Somebody with a token of his own for an actor, without an order. */
function holderOf(actor: string, ...more: readonly string[]): Caller {
  const signer = newSigner();
  const caveats = [formatCaveat("actor", actor), inOneHour(), formatCaveat("holder", signer.publicKey)];
  const token = mintToken(gate.key, [...caveats, ...more]);
  return { url: gate.server.url, token, signer, now_ms: Date.now, random };
}

async function told(caller: Caller, actor: string): Promise<Description> {
  const outcome = await send(signDescribe(caller, { tenant: "demo", actor }), fetch);
  if (!("result" in outcome)) throw new Error(outcome.problem.detail);
  return outcome.result as unknown as Description;
}

async function keyOf(tenant: string): Promise<RootKey> {
  const store = sqliteStore(gate.directory);
  const key = activeKey(must(await readKeyring(store, tenant, MASTER)));
  await store.close();
  if (key === undefined) throw new Error("no key");
  return key;
}

const fresh = (type: string): string => `${type}/${toHex(random(6))}`;

/** A release that was reviewed, its owner, and a quorum with somebody who may do all with it. */
async function reviewed() {
  const [release, quorum] = [fresh("release"), fresh("quorum")];
  const [owner, chair] = [holderOf(release), holderOf(quorum)];
  for (const message of ["upload", "review"])
    expect(codeOf(await call(owner, release, message, message === "upload" ? { file: "a" } : {}))).toBe(
      "200",
    );
  const { key } = await told(chair, quorum);
  return { release, quorum, owner, chair, key };
}

type Reviewed = Awaited<ReturnType<typeof reviewed>>;

/** What the owner gives the quorum: to approve, and nothing else. */
const toApprove = ({ owner, key }: Pick<Reviewed, "owner" | "key">): { $cap: string } =>
  must(capability(owner.token, key, owner.signer, { caveats: ["message in approve"] }));

const begin = ({ chair, quorum }: Pick<Reviewed, "chair" | "quorum">, given: Json, needed = 2) =>
  call(chair, quorum, "begin", { capability: given, needed });

const vote = ({ chair, quorum }: Pick<Reviewed, "chair" | "quorum">, voter: string) =>
  call(chair, quorum, "vote", { voter });

/** Until the release stands there. */
const stage = ({ owner, release }: Pick<Reviewed, "owner" | "release">) =>
  eventually(async () => {
    const { enabled } = await told(owner, release);
    return enabled.includes("publish");
  });

describe("a quorum", () => {
  it("is given a capability, uses it when enough have voted, and is told nothing of the token", async () => {
    const all = await reviewed();
    expect(await begin(all, toApprove(all))).toMatchObject({ result: { votes: 0, decided: false } });
    expect(await vote(all, "ada")).toMatchObject({ result: { votes: 1, decided: false } });
    expect((await told(all.owner, all.release)).enabled).toContain("approve");
    expect(await vote(all, "ada")).toMatchObject({ problem: { handler_code: "voted_before" } });
    expect(await vote(all, "bob")).toMatchObject({ result: { votes: 2, decided: true } });
    await stage(all);
    // Sent once, by the quorum's own key.
    const lines = gate.lines.filter((line) => line.includes(all.release) && line.includes('"approve"'));
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { status: 200, signer: all.key, message: "approve" },
    ]);
  });

  it("sends under the name of the gate that the token is meant for", async () => {
    const all = await reviewed();
    const audience = gate.server.url.replace("127.0.0.1", "localhost");
    const caveats = ["message in approve", formatCaveat("audience", audience)];
    const given = must(capability(all.owner.token, all.key, all.owner.signer, { caveats }));
    await begin(all, given, 1);
    expect(await vote(all, "ada")).toMatchObject({ result: { decided: true } });
    await stage(all);
  });

  it("hands the capability back to who asks, bound to his key: for a thief it is nothing", async () => {
    const all = await reviewed();
    await begin(all, toApprove(all));
    const outcome = await call(all.chair, all.quorum, "hand_back");
    const { $cap: token } = (outcome as unknown as { result: { capability: { $cap: string } } }).result
      .capability;
    const thief = { ...holderOf(all.release), token };
    expect(codeOf(await call(thief, all.release, "approve"))).toBe("caveat_denied");
    expect(codeOf(await call({ ...all.chair, token }, all.release, "publish"))).toBe("caveat_denied");
    expect(codeOf(await call({ ...all.chair, token }, all.release, "approve"))).toBe("200");
    // It holds nothing any more.
    expect(await vote(all, "ada")).toMatchObject({ problem: { code: "out_of_order" } });
  });

  it("answers the same again to a repeated call, capability and all", async () => {
    const all = await reviewed();
    await begin(all, toApprove(all));
    const again = { idempotencyKey: "back" };
    const first = await call(all.chair, all.quorum, "hand_back", {}, again);
    expect(first).toMatchObject({ status: 200 });
    expect(await call(all.chair, all.quorum, "hand_back", {}, again)).toEqual(first);
  });
});

describe("what an actor could never use is refused, with the place", () => {
  const refused = async (given: Json) => {
    const quorum = fresh("quorum");
    return begin({ quorum, chair: holderOf(quorum) }, given, 1);
  };

  it.each<[string, Json, string]>([
    ["a number", { $cap: 0 }, "schema_violation"],
    ["no token", { $cap: "token" }, "schema_violation"],
    ["more beside it", { $cap: "pst_", caveats: [] }, "schema_violation"],
    ["a handle in an array", [{ $cap: null }], "schema_violation"],
  ])("%s", async (_, given, code) => {
    const outcome = await refused(given);
    expect(outcome).toMatchObject({ problem: { code, path: expect.stringMatching(/^\/capability/) } });
  });

  it.each<[string, (all: Reviewed) => string]>([
    ["bound to the giver", ({ owner }) => owner.token],
    [
      "for another actor's key",
      ({ owner }) => must(delegateToken(owner.token, newSigner().publicKey, owner.signer)),
    ],
    ["bound to nobody", ({ release }) => mintToken(gate.key, [formatCaveat("actor", release), inOneHour()])],
    ["changed", ({ owner, key }) => changed(toApprove({ owner, key }).$cap)],
    [
      "expired",
      ({ owner, key }) =>
        must(delegateToken(narrow(owner.token, "expires < 2020-01-01T00:00:00Z"), key, owner.signer)),
    ],
    [
      "of another tenant",
      ({ release, key }) =>
        mintToken(
          gate.key,
          [formatCaveat("actor", release), inOneHour(), formatCaveat("holder", key)],
          "other",
        ),
    ],
    [
      "with a caveat that nobody knows",
      ({ release, key }) =>
        mintToken(gate.key, [
          formatCaveat("actor", release),
          inOneHour(),
          formatCaveat("holder", key),
          "moon = full",
        ]),
    ],
  ])("%s", async (_, token) => {
    const all = await reviewed();
    const outcome = await begin(all, { $cap: token(all) });
    expect(outcome).toMatchObject({
      status: 403,
      problem: { code: "capability_refused", path: "/capability" },
    });
    expect(codeOf(await begin(all, toApprove(all)))).toBe("200");
  });

  it("one that is too long", async () => {
    const all = await reviewed();
    const long = { $cap: `pst_${"A".repeat(CAPABILITY_LENGTH_MAX)}` };
    expect(await begin(all, long)).toMatchObject({ problem: { code: "too_large", path: "/capability" } });
  });

  it("too many of them", async () => {
    const all = await reviewed();
    const many = Array.from({ length: 9 }, () => toApprove(all));
    expect(await begin(all, many)).toMatchObject({ problem: { code: "too_large", path: "/capability/8" } });
  });
});

describe("a handler that shows all that it is told", () => {
  // {"reply":<the input>}, whatever is in it.
  const ECHO = guest(
    `(i32.store8 (i32.add (local.get 0) (local.get 1)) (i32.const 0x7d))
     (memory.copy (i32.sub (local.get 0) (i32.const 9)) (i32.const 16) (i32.const 9))
     (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get 0) (i32.const 9))) (i64.const 32))
       (i64.extend_i32_u (i32.add (local.get 1) (i32.const 10))))`,
    String.raw`(data (i32.const 16) "{\22reply\22:")`,
    "4",
    "(i32.const 4096)",
  );

  it("shows no token but those that its caller is given, which are the caller's alone", async () => {
    const store = sqliteStore(gate.directory);
    await publishTenant(store, "open", { holder: "optional", module: ECHO });
    await store.close();
    const key = await keyOf("open");
    await eventually(() => gate.server.tenants.includes("open"));
    const actor = fresh("thing");
    const giver = newSigner();
    const texts = [formatCaveat("actor", actor), inOneHour()];
    const caller = { ...holderOf(actor), token: mintToken(key, texts, "open") };
    const outcome = await send(signDescribe(caller, { tenant: "open", actor }), fetch);
    const { key: actorKey } = (outcome as unknown as { result: Description }).result;
    const bound = mintToken(key, [...texts, formatCaveat("holder", giver.publicKey)], "open");
    const given = must(capability(bound, actorKey, giver));
    // The tenant allows it: a token that is bound to nobody.
    const unbound = { $cap: mintToken(key, texts, "open") };
    const echoed = await send(
      signCall(caller, { tenant: "open", actor, message: "go", args: [given, unbound] }),
      fetch,
    );
    const { result } = echoed as unknown as { result: { args: { $cap: string }[]; caps: Json } };
    expect(result).toMatchObject({
      state: null,
      message: "go",
      actor,
      caps: [
        { id: 0, actor },
        { id: 1, actor },
      ],
    });
    for (const [index, inside] of [given, unbound].entries()) {
      const [before, after] = [
        must(decodeToken(inside.$cap)),
        must(decodeToken(result.args[index]?.$cap ?? "")),
      ];
      expect(JSON.stringify(result)).not.toContain(inside.$cap.slice(0, -12));
      expect(after.signature).not.toEqual(before.signature);
      const last = fromUtf8(after.unsafeCaveats.at(-1)?.cid ?? new Uint8Array()) ?? "";
      expect(last).toMatch(new RegExp(`^(delegate|holder) = ${caller.signer.publicKey}`));
    }
  });
});

it("nobody passes for an actor that sends", async () => {
  const release = fresh("release");
  const owner = holderOf(release);
  const posing = (sender: string, idempotencyKey = "send-1") =>
    send(
      signRequest(owner, `/v1/demo/${release}/upload`, utf8('{"file":"a"}'), {
        "idempotency-key": `"${idempotencyKey}"`,
        "postern-sender": sender,
      }),
      fetch,
    );
  for (const sender of ["quorum/1", release])
    expect(await posing(sender)).toMatchObject({ problem: { code: "signature_invalid" } });
  for (const sender of ["", "quorum", "Quorum/1", "quorum/../1"])
    expect(await posing(sender)).toMatchObject({ problem: { code: "malformed_request" } });
});

/** Another signature under a checksum that is right. */
function changed(token: string): string {
  const macaroon = must(decodeToken(token));
  const signature = macaroon.signature.map((byte, index) => (index === 7 ? byte ^ 1 : byte));
  return encodeToken({ ...macaroon, signature });
}
