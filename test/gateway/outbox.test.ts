/**
 * Sends of real nodes: killed between the commit and the delivery, one of two with the receiver, and after a revocation.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { toHex } from "../../src/bytes.ts";
import { CODES } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { revoke } from "../../src/revoke.ts";
import {
  type Caller,
  type CallOutcome,
  type Description,
  send,
  signCall,
  signDescribe,
} from "../../src/sdk/client.ts";
import { capability } from "../../src/sdk/delegate.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { decodeToken } from "../../src/token/envelope.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { parseIdentifier } from "../../src/token/macaroon.ts";
import { eventually } from "../support/eventually.ts";
import { inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { objectsOf } from "../support/whole-store.ts";

const directories: string[] = [];
const nodes: NodeProcess[] = [];
afterAll(async () => {
  for (const node of nodes) await node.kill();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** A store with nodes on it, that may be killed and started again. */
class Place {
  readonly directory = mkdtempSync(join(tmpdir(), "postern-outbox-"));
  readonly lines: string[] = [];
  node: NodeProcess | undefined;

  constructor() {
    directories.push(this.directory);
  }

  async start(): Promise<NodeProcess> {
    const node = await startNodeProcess(this.directory, ["--shards", "8"], {}, (line) =>
      this.lines.push(line),
    );
    nodes.push(node);
    this.node = node;
    return node;
  }

  get url(): string {
    return this.node?.url ?? "";
  }

  /** Events of sends that failed. */
  get failed(): readonly string[] {
    return this.lines.filter((line) => line.includes('"event":"send_'));
  }

  async key(): Promise<RootKey> {
    const store = sqliteStore(this.directory);
    const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
    await store.close();
    if (key === undefined) throw new Error("no key");
    return key;
  }

  /** Asks again until there is an answer that no retry can change. */
  async insist(caller: Caller, actor: string, message: string, args: Json = {}): Promise<CallOutcome> {
    const idempotencyKey = toHex(random(8));
    for (;;) {
      const call = { tenant: "demo", actor, message, args, idempotencyKey };
      const outcome = await send(signCall({ ...caller, url: this.url }, call), fetch).catch(() => undefined);
      if (outcome !== undefined && !("problem" in outcome && CODES[outcome.problem.code].retry))
        return outcome;
      await setTimeout(5);
    }
  }

  async told(caller: Caller, actor: string): Promise<Description> {
    const outcome = await send(signDescribe({ ...caller, url: this.url }, { tenant: "demo", actor }), fetch);
    if (!("result" in outcome)) throw new Error(outcome.problem.detail);
    return outcome.result as unknown as Description;
  }
}

function holderOf(key: RootKey, actor: string): Caller {
  const signer = newSigner();
  const caveats = [formatCaveat("actor", actor), inOneHour(), formatCaveat("holder", signer.publicKey)];
  return { url: "", token: mintToken(key, caveats), signer, now_ms: Date.now, random };
}

interface Case {
  readonly release: string;
  readonly quorum: string;
  readonly owner: Caller;
  readonly chair: Caller;
}

/** A reviewed release, and a quorum that approves it at the next vote. */
async function prepared(place: Place, key: RootKey): Promise<Case> {
  const [release, quorum] = [`release/${toHex(random(6))}`, `quorum/${toHex(random(6))}`];
  const [owner, chair] = [holderOf(key, release), holderOf(key, quorum)];
  const { key: actorKey } = await place.told(chair, quorum);
  await place.insist(owner, release, "upload", { file: "a" });
  await place.insist(owner, release, "review");
  const given = must(capability(owner.token, actorKey, owner.signer, { caveats: ["message in approve"] }));
  const begun = await place.insist(chair, quorum, "begin", { capability: given, needed: 1 });
  expect(begun).toMatchObject({ status: 200 });
  return { release, quorum, owner, chair };
}

const isApproved = async (place: Place, { owner, release }: Case): Promise<boolean> =>
  (await place.told(owner, release)).enabled.includes("publish");

describe("what was sent", () => {
  it("before a kill -9 is delivered after it, and takes effect once", async () => {
    const place = new Place();
    await place.start();
    const key = await place.key();
    for (let kill = 0; kill < 3; kill++) {
      const cases: Case[] = [];
      for (let count = 0; count < 6; count++) cases.push(await prepared(place, key));
      // All of them acknowledged; what they have sent is under way, or not, or has arrived and is not on record yet.
      const votes = cases.map(({ chair, quorum }) => place.insist(chair, quorum, "vote", { voter: "ada" }));
      for (const vote of await Promise.all(votes)) expect(vote).toMatchObject({ status: 200 });
      await place.node?.kill();
      await place.start();
      for (const one of cases) await eventually(() => isApproved(place, one));
    }
    // A second approval would have been refused, for it is out of order, and said so.
    await setTimeout(200);
    expect(place.failed).toEqual([]);
  }, 120_000);

  it("reaches its receiver on another node, also while that one goes away and comes back", async () => {
    const place = new Place();
    const first = await place.start();
    const key = await place.key();
    await place.start();
    const cases: Case[] = [];
    for (let count = 0; count < 12; count++) cases.push(await prepared(place, key));
    const [before, after] = [cases.slice(0, 6), cases.slice(6)];
    for (const { chair, quorum } of before) await place.insist(chair, quorum, "vote", { voter: "ada" });
    for (const one of before) await eventually(() => isApproved(place, one));
    // Some of the releases were led there, and some of the quorums.
    const votes = after.map(({ chair, quorum }) => place.insist(chair, quorum, "vote", { voter: "ada" }));
    await first.end("SIGTERM");
    for (const vote of await Promise.all(votes)) expect(vote).toMatchObject({ status: 200 });
    for (const one of after) await eventually(() => isApproved(place, one));
    expect(place.failed).toEqual([]);
  }, 120_000);

  it("by a token that was revoked is refused and reported; no secret is in what is kept or said", async () => {
    const place = new Place();
    const node = await place.start();
    const key = await place.key();
    const one = await prepared(place, key);
    const kept = await prepared(place, key);
    const store = sqliteStore(place.directory);
    const root = must(decodeToken(one.owner.token));
    const value = parseIdentifier(root.identifier)?.nonce ?? "";
    must(
      await revoke(
        store,
        "demo",
        { kind: "token", value, at: "2026-01-01T00:00:00Z" },
        { now_ms: Date.now(), random },
      ),
    );
    // In force within two seconds, on all nodes.
    await eventually(async () => {
      const asked = await place.insist(one.owner, one.release, "upload", { file: "b" });
      return "problem" in asked && asked.problem.code === "token_revoked";
    });
    expect(await place.insist(one.chair, one.quorum, "vote", { voter: "ada" })).toMatchObject({
      status: 200,
    });
    await eventually(() => place.failed.length > 0);
    expect(JSON.parse(place.failed[0] ?? "")).toMatchObject({
      event: "send_refused",
      detail: `demo/${one.quorum} send 0 to ${one.release} approve: token_revoked`,
    });
    await place.insist(kept.chair, kept.quorum, "vote", { voter: "ada" });
    await eventually(() => isApproved(place, kept));
    await node.end("SIGTERM");

    const bodies = [...(await objectsOf(store)).values()].map((body) => Buffer.from(body).toString("latin1"));
    await store.close();
    const all = [...bodies, ...place.lines].join("\n");
    expect(all).toContain('"$cap":0');
    expect([...bodies].some((body) => body.includes("delivered"))).toBe(true);
    for (const { owner } of [one, kept]) {
      const { signature } = must(decodeToken(owner.token));
      const [text, hex] = [owner.token.slice(4, 60), toHex(signature)];
      for (const secret of [text, hex, Buffer.from(signature).toString("latin1"), "delegate = "])
        expect(all.includes(secret)).toBe(false);
    }
  }, 60_000);
});
