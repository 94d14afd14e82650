/** What an actor may do with capabilities, and cannot: its handler here is whatever a hostile author would write. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Received } from "../../src/actor/capabilities.ts";
import { decodeEntry } from "../../src/actor/entry.ts";
import type { Answer, Call } from "../../src/actor/shard.ts";
import { fromUtf8, toHex, utf8 } from "../../src/bytes.ts";
import type { SendRequest } from "../../src/dispatch/outcome.ts";
import type { Turn } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { capOf } from "../../src/handles.ts";
import type { Json } from "../../src/json.ts";
import {
  CAPABILITIES_HANDED_ON_MAX,
  CAPABILITIES_HELD_MAX,
  OUTBOX_SENDS_MAX,
  SENDER_RETENTION_MS,
  SENDERS_PER_ACTOR_MAX,
} from "../../src/limits.ts";
import { capability } from "../../src/sdk/delegate.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { must, newSigner } from "../support/gate.ts";
import { VAULT } from "../support/vault.ts";
import { batchOf, callOf, type Given, metered, NOW_MS, shardOf } from "./counter.ts";
import { loaded, quiet, Shelf, ShelfLog } from "./shelf.ts";

const OWNER = "t/account/1";
const ROOT = new Secret(new Uint8Array(32).fill(1));
const OWN_BEHAVIOUR = { behaviour: "go*" };

/** A token for `thing/…`, bound to the actor's key by who gave it. */
function given(reach = "thing/a", owner = OWNER): Received {
  const giver = newSigner();
  const root = mintMacaroon(ROOT, `postern/1 tenant=t kid=1 nonce=${"n".repeat(22)}`);
  const texts = [`actor = ${reach}`, "expires < 2030-01-01T00:00:00Z", `holder = ${giver.publicKey}`];
  const token = encodeToken(must(attenuate(root, texts)));
  return { token: must(capability(token, VAULT.publicKey(owner), giver)).$cap, note: { actor: reach } };
}

/** What a handler does in a test: a function of its turn. */
type Does = (turn: Turn) => { reply?: Json; state?: Json; sends?: readonly SendRequest[] };

class Node {
  readonly shelf: Shelf;
  readonly log: ShelfLog;
  readonly actors;
  readonly shard;

  constructor(shelf = new Shelf()) {
    this.shelf = shelf;
    this.log = new ShelfLog(shelf);
    this.actors = shelf.recover();
    this.shard = shardOf({ actors: this.actors, log: this.log, read: shelf.read });
  }

  go(does: Does, more: Given = {}): Promise<Answer | Refusal> {
    return this.shard.call(callOf("go", { ...OWN_BEHAVIOUR, run: running(does), ...more }));
  }

  async held(address = OWNER): Promise<readonly number[]> {
    return [...(await loaded(this.actors, address, this.shelf.read)).capabilities.keys()];
  }

  async outbox(address = OWNER): Promise<number> {
    return (await loaded(this.actors, address, this.shelf.read)).outbox.size;
  }

  /** Another node, after a crash. */
  successor(): Node {
    return new Node(this.shelf);
  }
}

const running =
  (does: Does): NonNullable<Given["run"]> =>
  (turn) => {
    const { reply = null, state, sends } = does(turn);
    return { reply, state: state === undefined ? undefined : JSON.stringify(state), ...(sends && { sends }) };
  };

const keep: Does = ({ args }) => ({ state: args });
const send = (to: number, args: Json = {}, actor?: string): SendRequest => ({
  to,
  actor,
  message: "go",
  args,
});
const caps = ({ caps: notes = [] }: Turn): Json => notes.map(({ id }) => id);

/** A node whose actor holds capability 0. */
async function holding(): Promise<Node> {
  const node = new Node();
  must(await node.go(keep, { args: { a: capOf(0) }, received: [given()] }));
  return node;
}

function tokenIn(answer: Answer | Refusal): Macaroon {
  const { reply } = must(answer) as unknown as { readonly reply: { readonly $cap: string } };
  return must(decodeToken(reply.$cap));
}

describe("an actor holds", () => {
  test("what its state refers to, and nothing else", async () => {
    const node = new Node();
    const received = [given(), given("thing/b"), given("thing/*")];
    const args = { a: capOf(0), b: [capOf(1)], c: capOf(2) };
    let seen: unknown;
    must(
      await node.go(
        (turn) => {
          seen = [turn.args, turn.caps];
          return { state: { deep: [{ b: capOf(1) }, capOf(2), capOf(1)] } };
        },
        { args, received },
      ),
    );
    const notes = received.map(({ note: { actor } }, id) => ({ id, actor }));
    expect(seen).toEqual([args, notes]);
    expect(await node.held()).toEqual([1, 2]);
    expect(must(await node.go((turn) => ({ reply: caps(turn) }))).reply).toEqual([1, 2]);
    must(await node.go(() => ({ state: null })));
    expect(await node.held()).toEqual([]);
  });

  test("each under its own number: of several, now and later, the one that is named goes out", async () => {
    const node = new Node();
    const received = [given("thing/a"), given("thing/b"), given("thing/*")];
    const reachOf = (answer: Answer | Refusal): string | undefined =>
      fromUtf8(tokenIn(answer).unsafeCaveats[0]?.cid ?? new Uint8Array());
    const all = { a: capOf(0), b: capOf(1), c: capOf(2) };
    const now = await node.go(() => ({ reply: capOf(1), state: all }), { args: all, received });
    expect(reachOf(now)).toBe("actor = thing/b");
    expect(reachOf(await node.go(() => ({ reply: capOf(2) })))).toBe("actor = thing/*");
    expect(reachOf(await node.successor().go(() => ({ reply: capOf(1) })))).toBe("actor = thing/b");
  });

  test("by numbers that are never given again, whatever becomes of it and its node", async () => {
    let node = await holding();
    for (let number = 1; number < 6; number++) {
      must(
        await node.go((turn) => ({ state: number % 2 === 0 ? turn.args : null }), {
          args: { a: capOf(0) },
          received: [given()],
        }),
      );
      expect(await node.held()).toEqual(number % 2 === 0 ? [number] : []);
      if (number % 3 === 0) node.shelf.checkpoint(node.actors);
      node = node.successor();
    }
  });

  test("no more than it may", async () => {
    const node = new Node();
    const given8 = () => Array.from({ length: 8 }, () => given());
    const args = Array.from({ length: 8 }, (_, index) => capOf(index));
    const append: Does = (turn) => ({
      state: [...(JSON.parse(turn.state ?? "[]") as Json[]), ...(turn.args as Json[])],
    });
    for (let held = 0; held < CAPABILITIES_HELD_MAX; held += 8)
      must(await node.go(append, { args, received: given8() }));
    expect(await node.go(append, { args, received: given8() })).toMatchObject({ code: "quota_exceeded" });
    expect(await node.held()).toHaveLength(CAPABILITIES_HELD_MAX);
  });
});

describe("a handler cannot", () => {
  const bad: [string, Does][] = [
    ["name in its reply what it never had", () => ({ reply: { x: [capOf(7)] } })],
    ["name in its state what it never had", () => ({ state: capOf(1) })],
    ["name in a send what it never had", () => ({ sends: [send(1)] })],
    ["name in a send's arguments what it never had", () => ({ sends: [send(0, { b: capOf(1) })] })],
    ["guess a number that is none", () => ({ reply: { $cap: -1 } })],
    ["guess another", () => ({ reply: { $cap: 0.5 } })],
    ["put a token in a handle's place", () => ({ reply: { $cap: given().token } })],
    ["put something beside a handle", () => ({ reply: { $cap: 0, token: "pst_" } })],
    ["narrow what it only keeps", () => ({ state: { $cap: 0, caveats: ["message in go"] } })],
    ["narrow by what is no caveat", () => ({ reply: { $cap: 0, caveats: ["moon = full"] } })],
    ["narrow by what is no text", () => ({ reply: { $cap: 0, caveats: [1] } })],
    ["bind to a key", () => ({ reply: { $cap: 0, caveats: [`holder = ${"a".repeat(64)}`] } })],
    [
      "delegate",
      () => ({ reply: { $cap: 0, caveats: [`delegate = ${"a".repeat(64)} ${"b".repeat(128)}`] } }),
    ],
    [
      "hand on more than fits",
      () => ({ reply: { $cap: 0, caveats: Array.from({ length: 128 }, () => "message in go") } }),
    ],
    [
      "hand on more than a call may",
      () => ({ reply: Array.from({ length: CAPABILITIES_HANDED_ON_MAX + 1 }, () => capOf(0)) }),
    ],
    ["send to another actor than the capability's", () => ({ sends: [send(0, {}, "thing/b")] })],
    ["send more than a call may", () => ({ sends: Array.from({ length: 17 }, () => send(0)) })],
    ["send more than a body holds", () => ({ sends: [send(0, "x".repeat(1024 * 1024))] })],
  ];
  test.each(bad)("%s", async (_, does) => {
    const node = await holding();
    const before = [node.shelf.entries.length, await node.held()];
    expect(await node.go(does)).toMatchObject({ code: "handler_invalid" });
    expect([node.shelf.entries.length, await node.held()]).toEqual(before);
  });

  test("use what it has dropped, or what another actor has", async () => {
    const node = await holding();
    must(
      await node.go(keep, {
        args: { a: capOf(0), b: capOf(1) },
        received: [given(), given()],
        actor: "account/2",
      }),
    );
    expect(await node.go(() => ({ reply: capOf(1) }))).toMatchObject({ code: "handler_invalid" });
    must(await node.go(() => ({ state: null })));
    expect(await node.go(() => ({ reply: capOf(0) }))).toMatchObject({ code: "handler_invalid" });
  });

  test("send where it is declared to read, or from an actor of a type without naming one", async () => {
    const node = new Node();
    must(await node.go(keep, { args: capOf(0), received: [given("thing/*")] }));
    expect(await node.go(() => ({ sends: [send(0)] }))).toMatchObject({ code: "handler_invalid" });
    expect(await node.go(() => ({ sends: [send(0, {}, "other/a")] }))).toMatchObject({
      code: "handler_invalid",
    });
    expect(await node.go(() => ({ sends: [send(0, {}, "thing/a")] }), { reads: true })).toMatchObject({
      code: "handler_invalid",
    });
    must(await node.go(() => ({ sends: [send(0, {}, "thing/a")] })));
    expect(await node.outbox()).toBe(1);
  });
});

describe("the tokens", () => {
  test("are in no entry and no record, in no form", async () => {
    const node = new Node();
    const received = [given(), given()];
    const args = { a: capOf(0), b: capOf(1) };
    const more = { received, args, idempotency: { key: "k", digest: "d" } };
    must(
      await node.go(
        ({ args: state }) => ({ state, reply: capOf(0), sends: [send(1, { c: capOf(0) })] }),
        more,
      ),
    );
    const entries = node.shelf.entries.join("\n");
    node.shelf.checkpoint(node.actors);
    const kept = [entries, ...node.shelf.common, ...[...node.shelf.records.values()].flat()].join("\n");
    expect(kept).toContain('"$cap":0');
    for (const { token } of received) {
      const { signature, unsafeCaveats } = must(decodeToken(token));
      const delegation = (fromUtf8(unsafeCaveats.at(-1)?.cid ?? new Uint8Array()) ?? "").split(" ").at(-1);
      for (const secret of [token, token.slice(4, 40), toHex(signature), delegation ?? ""]) {
        expect(secret.length).toBeGreaterThan(30);
        expect(kept).not.toContain(secret);
      }
    }
  });

  test("are sealed for one actor and one number, under another nonce each time", () => {
    const sealed = VAULT.seal(OWNER, 3, "pst_secret");
    expect(VAULT.open(OWNER, 3, sealed)).toBe("pst_secret");
    expect(VAULT.seal(OWNER, 3, "pst_secret")).not.toBe(sealed);
    expect(() => VAULT.open(OWNER, 4, sealed)).toThrow();
    expect(() => VAULT.open("t/account/13", 3, sealed)).toThrow();
    expect(() => VAULT.open("u/account/1", 3, sealed)).toThrow();
    expect(() => VAULT.open(OWNER, 3, sealed.slice(0, -2))).toThrow();
  });

  test("go out as they came in, narrowed by what was asked, and bound to the receiver (law 2)", async () => {
    const narrower = fc.subarray([
      "message in go",
      "uses <= 3",
      "rate <= 5/m",
      "protocol = go*",
      "client_ip in ::1/128",
    ]);
    await fc.assert(
      fc.asyncProperty(narrower, async (caveats) => {
        const node = new Node();
        const received = [given()];
        const signer = newSigner().publicKey;
        const answer = await node.go(() => ({ reply: { $cap: 0, ...(caveats.length > 0 && { caveats }) } }), {
          args: capOf(0),
          received,
          signer,
        });
        const [before, after] = [must(decodeToken(received[0]?.token ?? "")), tokenIn(answer)];
        expect(after.identifier).toEqual(before.identifier);
        const texts = after.unsafeCaveats.map(({ cid }) => fromUtf8(cid) ?? "");
        const kept = before.unsafeCaveats.map(({ cid }) => fromUtf8(cid) ?? "");
        expect(texts.slice(0, -1)).toEqual([...kept, ...caveats]);
        expect(texts.at(-1)).toMatch(new RegExp(`^delegate = ${signer} [0-9a-f]{128}$`));
        expect(isRefusal(verify(after, ROOT))).toBe(false);
      }),
      { numRuns: 20 },
    );
  });

  test("that are bound to nobody go out bound to the receiver", async () => {
    const node = new Node();
    const root = mintMacaroon(ROOT, `postern/1 tenant=t kid=1 nonce=${"n".repeat(22)}`);
    const token = encodeToken(must(attenuate(root, ["actor = thing/a"])));
    const received = [{ token, note: { actor: "thing/a" } }];
    const signer = newSigner().publicKey;
    const out = tokenIn(await node.go(() => ({ reply: capOf(0) }), { args: capOf(0), received, signer }));
    expect(out.unsafeCaveats.map(({ cid }) => cid)).toEqual([
      utf8("actor = thing/a"),
      utf8(`holder = ${signer}`),
    ]);
  });
});

describe("a kept reply", () => {
  test("has its capability, also when the actor has dropped it, on this node and the next", async () => {
    const node = await holding();
    const again: Given = { idempotency: { key: "k", digest: "d" }, signer: newSigner().publicKey };
    const give: Does = () => ({ reply: { x: capOf(0) }, state: null });
    const { reply } = must(await node.go(give, again));
    expect(JSON.stringify(reply)).toContain("pst_");
    expect(await node.held()).toEqual([]);
    expect(await node.go(give, again)).toEqual({ reply, kept: true });
    node.shelf.checkpoint(node.actors);
    expect(await node.successor().go(give, again)).toEqual({ reply, kept: true });
  });
});

describe("in a batch", () => {
  test("a later call is given what an earlier one answered", async () => {
    const node = await holding();
    const seen: unknown[] = [];
    const message = (args: Json, does: Does, references: Call["word"][0]["references"] = new Map()) => ({
      name: "go",
      args,
      references,
      seed: "s",
      reads: false,
      run: metered(
        running((turn) => {
          seen.push([turn.args, caps(turn)]);
          return does(turn);
        }),
      ),
    });
    const reference = {};
    const place = { text: "$0.x", call: 0, path: ["x"], at: "/r" };
    const word = [
      message({ new: capOf(0) }, () => ({ reply: { x: capOf(1) } })),
      message(
        { r: reference, mine: capOf(1) },
        ({ args }) => ({ state: args }),
        new Map([[reference, place]]),
      ),
    ] as const;
    must(await node.shard.call(batchOf(word, { ...OWN_BEHAVIOUR, received: [given(), given()] })));
    expect(seen).toEqual([
      [{ new: capOf(1) }, [0, 1, 2]],
      [{ r: capOf(1), mine: capOf(2) }, [0, 1, 2]],
    ]);
    expect(await node.held()).toEqual([1, 2]);
  });
});

describe("sends", () => {
  test("are in the entry of their turn, in order, with numbers that are never used again", async () => {
    let node = await holding();
    must(await node.go(() => ({ sends: [send(0, 1), send(0, 2)] })));
    node.shelf.checkpoint(node.actors);
    node = node.successor();
    must(await node.go(() => ({ state: null, sends: [send(0, 3)] })));
    expect(decodeEntry(node.shelf.entries.at(-1) ?? "").sends).toEqual([[2, 0, "thing/a", "go", 3]]);
    for (const number of [0, 1, 2]) {
      const next = await node.shard.nextSend(OWNER, "thing/a");
      expect(next).toMatchObject({ record: [number, 0, "thing/a", "go", number + 1], at_ms: NOW_MS });
      expect(await node.shard.delivered(OWNER, NOW_MS, [number, "done"])).toBeUndefined();
      node = node.successor();
    }
    expect(await node.shard.nextSend(OWNER, "thing/a")).toBeUndefined();
    expect([...node.actors.sending]).toEqual([]);
    // Nothing is left of the actor but the numbers that it has used.
    node.shelf.checkpoint(node.actors);
    node = node.successor();
    must(
      await node.go(({ args }) => ({ state: args, sends: [send(1)] }), {
        args: capOf(0),
        received: [given()],
      }),
    );
    expect(decodeEntry(node.shelf.entries.at(-1) ?? "").sends).toMatchObject([[3, 1, "thing/a", "go", {}]]);
  });

  test("of an actor that has no state and nothing else have numbers that are never used again, too", async () => {
    let node = new Node();
    const onlySends = (id: number): [Does, Given] => [
      () => ({ sends: [send(id)] }),
      { args: capOf(0), received: [given()] },
    ];
    must(await node.go(...onlySends(0)));
    await node.shard.delivered(OWNER, NOW_MS, [0, "done"]);
    node.shelf.checkpoint(node.actors);
    node = node.successor();
    must(await node.go(...onlySends(1)));
    expect(await node.shard.nextSend(OWNER, "thing/a")).toMatchObject({
      record: [1, 1, "thing/a", "go", {}],
    });
  });

  test("a delivery that was written twice counts once", async () => {
    const node = await holding();
    must(await node.go(() => ({ sends: [send(0), send(0)] })));
    await node.shard.delivered(OWNER, NOW_MS, [0, "done"]);
    await node.shard.delivered(OWNER, NOW_MS, [0, "done"]);
    expect(await node.outbox()).toBe(1);
    expect([...node.successor().actors.sending]).toEqual([OWNER]);
  });

  test("a full outbox refuses the call that would add to it, and loses nothing", async () => {
    const node = await holding();
    const sixteen: Does = () => ({
      state: { a: capOf(0) },
      sends: Array.from({ length: 16 }, () => send(0)),
    });
    for (let sent = 0; sent < OUTBOX_SENDS_MAX; sent += 16) must(await node.go(sixteen));
    const entries = node.shelf.entries.length;
    expect(await node.go(sixteen)).toMatchObject({ code: "quota_exceeded", facts: { retry_after_ms: 1000 } });
    expect(await node.go(() => ({ sends: [send(0)] }))).toMatchObject({ code: "quota_exceeded" });
    expect(node.shelf.entries.length).toBe(entries);
    must(await node.go(() => ({ reply: "others go on" })));
    await node.shard.delivered(OWNER, NOW_MS, [0, "done"]);
    must(await node.go(() => ({ sends: [send(0)] })));
    expect(await node.outbox()).toBe(OUTBOX_SENDS_MAX);
  });

  test("wait until it is durable that they were sent", async () => {
    const node = await holding();
    node.log.writes.close();
    const answer = node.go(() => ({ sends: [send(0)] }));
    await quiet();
    let next: unknown = "waits";
    const asked = async () => {
      next = await node.shard.nextSend(OWNER, "thing/a");
    };
    void asked();
    await quiet();
    expect(next).toBe("waits");
    node.log.cut = true;
    node.log.writes.open();
    expect(await answer).toMatchObject({ code: "outcome_unknown" });
    await quiet();
    expect(next).toMatchObject({ code: "outcome_unknown" });
  });
});

describe("a receiver", () => {
  const KEY = VAULT.publicKey("t/account/9");
  const by = (number: number, key = KEY, now_ms = NOW_MS): Given => ({
    sender: { key, number },
    signer: key,
    now_ms,
  });
  const count: Does = ({ state }) => ({ state: Number(state ?? 0) + 1, reply: "done" });

  test("takes each send once, in whatever way it comes again", async () => {
    let node = new Node();
    expect(await node.go(count, by(4))).toEqual({ reply: "done", kept: false });
    expect(await node.go(count, by(4))).toEqual({ reply: null, kept: true });
    expect(await node.go(count, by(3))).toEqual({ reply: null, kept: true });
    expect(await node.go(count, by(5))).toMatchObject({ kept: false });
    expect(await node.go(count, by(5, VAULT.publicKey("t/account/8")))).toMatchObject({ kept: false });
    node = node.successor();
    expect(await node.go(count, by(5))).toMatchObject({ kept: true });
    node.shelf.checkpoint(node.actors);
    node = node.successor();
    expect(await node.go(count, by(5, KEY, NOW_MS + SENDER_RETENTION_MS))).toMatchObject({ kept: true });
    expect((await loaded(node.actors, OWNER, node.shelf.read)).state).toBe("3");
  });

  test("what was refused is not taken: it may come again", async () => {
    const node = new Node();
    const refusing: Does = () => ({ reply: capOf(0) });
    expect(await node.go(refusing, by(1))).toMatchObject({ code: "handler_invalid" });
    expect(await node.go(count, by(1))).toMatchObject({ kept: false });
  });

  test("that remembers as many senders as it may refuses a new one for now", async () => {
    const node = new Node();
    must(await node.go(count, by(1)));
    const { senders } = await loaded(node.actors, OWNER, node.shelf.read);
    for (let other = 1; other < SENDERS_PER_ACTOR_MAX; other++) senders.set([`k${other}`, 1, NOW_MS + 1000]);
    expect(await node.go(count, by(2))).toMatchObject({ kept: false });
    expect(await node.go(count, by(1, "new"))).toMatchObject({ code: "quota_exceeded" });
    expect(await node.go(count, by(1, "new", NOW_MS + 1001))).toMatchObject({ kept: false });
  });
});
