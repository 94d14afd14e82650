/** What actors send arrives: in order, once, whatever happens to the sender's node and to the receiver meanwhile. */
import { describe, expect, it } from "vitest";
import type { Received } from "../src/actor/capabilities.ts";
import { Courier } from "../src/courier.ts";
import { Deliveries } from "../src/deliveries.ts";
import type { SendRequest } from "../src/dispatch/outcome.ts";
import { CODES, type Code, refuse, toProblem } from "../src/errors.ts";
import { Few } from "../src/few.ts";
import { capOf } from "../src/handles.ts";
import type { Json } from "../src/json.ts";
import { DELIVERIES_OF_TENANT_AT_ONCE, SEND_BACKOFF_MS_MAX, SEND_LIFETIME_MS } from "../src/limits.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { type Given, NOW_MS } from "./actor/counter.ts";
import { quiet } from "./actor/shelf.ts";
import { TestClock } from "./cluster/clock.ts";
import { ShardsNode } from "./support/shards-node.ts";
import { VAULT } from "./support/vault.ts";

/** Gates that nodes send to: one that answers as the test says, and remembers what it was asked. */
class Receiver {
  /** `key path body` of each request. */
  readonly asked: string[] = [];
  readonly senders = new Set<string>();
  /** Answers from the first on; then `200`. */
  readonly answers: (number | Code | Promise<void>)[] = [];
  down = false;
  open = 0;
  most = 0;

  readonly ask = async (request: Request): Promise<Response> => {
    this.most = Math.max(this.most, ++this.open);
    const key = request.headers.get("idempotency-key");
    this.senders.add(request.headers.get("postern-sender") ?? "");
    this.asked.push(`${key} ${new URL(request.url).pathname} ${await request.text()}`);
    const answer = this.down ? "store_unavailable" : (this.answers.shift() ?? 200);
    if (answer instanceof Promise) await answer;
    this.open--;
    if (typeof answer !== "string") return Response.json({ reply: 1 });
    return Response.json(toProblem(refuse(answer, "because"), "id"), { status: CODES[answer].status });
  };

  get numbers(): readonly string[] {
    return this.asked.map((line) => line.slice(1, line.indexOf('" ')));
  }
}

let wall_ms = NOW_MS;

function nodeOn(store: Store, receiver: Receiver): ShardsNode {
  const courier = new Courier({
    vault: VAULT,
    ask: receiver.ask,
    url: "http://here",
    wall_ms: () => wall_ms,
    random: (length: number) => new Uint8Array(length),
  });
  return new ShardsNode(store, { courier });
}

const to = (reach: string): Received => ({ token: TOKEN, note: { actor: reach } });
/** Any token will do where nobody looks at it. */
const TOKEN = "AgEBYQACAWIAAAYgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const sending = (sends: readonly SendRequest[], state?: Json): Given => ({
  behaviour: "go*",
  run: () => ({ reply: 1, state: JSON.stringify(state ?? [capOf(0), capOf(1)]), sends }),
});

const send = (args: Json, capability = 0): SendRequest => ({
  to: capability,
  actor: undefined,
  message: "go",
  args,
});

/** A node whose actor may send to `thing/a` and `thing/b`. */
async function begun(store: Store, receiver: Receiver): Promise<ShardsNode> {
  const node = await nodeOn(store, receiver).start();
  const received = [to("thing/a"), to("thing/b")];
  const given: Given = { ...sending([]), args: [capOf(0), capOf(1)], received };
  expect(await node.call("go", given)).toBe("done");
  return node;
}

/** Lets time pass until nothing happens any more. */
async function pass(node: ShardsNode, ms = 0): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await quiet();
  await node.clock.pass(ms);
  for (let turn = 0; turn < 20; turn++) await quiet();
}

describe("a send", () => {
  it("is an ordinary request of its sender, with its number", async () => {
    const receiver = new Receiver();
    const node = await begun(memoryStore(), receiver);
    await node.call("go", sending([send({ n: 1 }), send({ n: 2 }, 1)]));
    await pass(node);
    expect(receiver.asked.toSorted()).toEqual([
      '"send-0" /v1/t/thing/a/go {"n":1}',
      '"send-1" /v1/t/thing/b/go {"n":2}',
    ]);
    expect(receiver.senders).toEqual(new Set(["account/1"]));
    await node.call("go", sending([]));
    await pass(node);
    expect(receiver.asked).toHaveLength(2);
  });

  it("is tried again until it is answered, and the next to this receiver waits for it", async () => {
    const receiver = new Receiver();
    const node = await begun(memoryStore(), receiver);
    receiver.answers.push(
      "overloaded",
      "draining",
      "outcome_unknown",
      "in_flight",
      "quota_exceeded",
      "replayed",
      "signature_invalid",
    );
    await node.call("go", sending([send(0), send(1), send(2)]));
    await pass(node, 60_000);
    expect(receiver.numbers).toEqual([...Array.from({ length: 8 }, () => "send-0"), "send-1", "send-2"]);
  });

  it("to another receiver waits for nobody", async () => {
    const receiver = new Receiver();
    const node = await begun(memoryStore(), receiver);
    const held = Promise.withResolvers<void>();
    receiver.answers.push(held.promise);
    await node.call("go", sending([send("a1"), send("a2"), send("b1", 1), send("b2", 1)]));
    await pass(node);
    expect(receiver.numbers).toEqual(["send-0", "send-2", "send-3"]);
    held.resolve();
    await pass(node);
    expect(receiver.numbers).toEqual(["send-0", "send-2", "send-3", "send-1"]);
  });

  it.each<Code>(["token_revoked", "out_of_order", "handler_error", "caveat_denied", "no_such_actor_type"])(
    "that is refused for good (%s) is reported, and the next one goes",
    async (code) => {
      const receiver = new Receiver();
      const node = await begun(memoryStore(), receiver);
      receiver.answers.push(code);
      await node.call("go", sending([send(0), send(1)]));
      await pass(node);
      expect(receiver.numbers).toEqual(["send-0", "send-1"]);
      const reported = node.events.filter((event) => event.startsWith("send_"));
      expect(reported).toEqual([`send_refused 0: t/account/1 send 0 to thing/a go: ${code}`]);
    },
  );

  it("that cannot be delivered for a day is given up, and reported", async () => {
    const receiver = new Receiver();
    const node = await begun(memoryStore(), receiver);
    receiver.down = true;
    await node.call("go", sending([send(0)]));
    await pass(node, 1_000);
    const tried = receiver.asked.length;
    expect(tried).toBeGreaterThan(2);
    wall_ms += SEND_LIFETIME_MS + 1;
    receiver.down = false;
    await pass(node, SEND_BACKOFF_MS_MAX);
    wall_ms = NOW_MS;
    expect(receiver.asked.length).toBe(tried);
    expect(node.events.at(-1)).toBe("send_given_up 0: t/account/1 send 0 to thing/a go: given_up");
    await node.call("go", sending([send(1)]));
    await pass(node);
    expect(receiver.numbers.at(-1)).toBe("send-1");
  });

  it("of many is delivered with few at once", async () => {
    const receiver = new Receiver();
    const node = await begun(memoryStore(), receiver);
    const held = Promise.withResolvers<void>();
    for (let count = 0; count < 40; count++) receiver.answers.push(held.promise);
    for (let actor = 0; actor < 40; actor++) {
      const address = `account/many-${actor}`;
      const given = { ...sending([send(0)]), actor: address, args: [capOf(0), capOf(1)] };
      await node.call("go", { ...given, received: [to("thing/a"), to("thing/b")] });
    }
    await pass(node);
    expect(receiver.asked).toHaveLength(DELIVERIES_OF_TENANT_AT_ONCE);
    held.resolve();
    await pass(node);
    expect([receiver.asked.length, receiver.most]).toEqual([40, DELIVERIES_OF_TENANT_AT_ONCE]);
  });
});

describe("an outbox", () => {
  it("goes over to who leads the shard next, in order, with a crash and with a hand-over", async () => {
    const store = memoryStore();
    const receiver = new Receiver();
    receiver.down = true;
    let node = await begun(store, receiver);
    await node.call("go", sending([send(0), send(1)]));
    await pass(node, 5_000);
    const first = receiver.asked.length;
    expect(new Set(receiver.numbers)).toEqual(new Set(["send-0"]));

    await node.leave();
    // Whoever has handed the shard over sends no more.
    await pass(node, SEND_BACKOFF_MS_MAX);
    expect(receiver.asked.length).toBe(first);
    node = await nodeOn(store, receiver).start();
    await node.call("go", sending([send(2)], null));
    await pass(node, 1_000);
    await node.leave();

    receiver.down = false;
    receiver.asked.length = 0;
    node = await nodeOn(store, receiver).start();
    await pass(node);
    expect(receiver.numbers).toEqual(["send-0", "send-1", "send-2"]);
    receiver.asked.length = 0;
    await node.leave();
    node = await nodeOn(store, receiver).start();
    await pass(node, SEND_BACKOFF_MS_MAX);
    expect(receiver.asked).toEqual([]);
  });

  it("of a node that dies between the answer and its record is delivered again, by the same number", async () => {
    const store = memoryStore();
    const receiver = new Receiver();
    const node = await begun(store, receiver);
    const held = Promise.withResolvers<void>();
    receiver.answers.push(held.promise);
    await node.call("go", sending([send(0), send(1)]));
    await pass(node);
    await node.leave();
    held.resolve();
    await pass(node, SEND_BACKOFF_MS_MAX);
    expect(receiver.numbers).toEqual(["send-0"]);
    const next = await nodeOn(store, receiver).start();
    await pass(next);
    expect(receiver.numbers).toEqual(["send-0", "send-0", "send-1"]);
  });
});

it("what is new while the last of before is being answered is not forgotten", async () => {
  const clock = new TestClock();
  const outbox: number[] = [0];
  const asked: number[] = [];
  const deliveries: Deliveries = new Deliveries({
    wall_ms: () => NOW_MS,
    clock,
    few: new Few({ most: 1, mostOfOne: 1 }),
    ended: () => false,
    report: (event, detail) => expect([event, detail]).toBe("nothing"),
    attempt: async () => {
      asked.push(outbox[0] ?? -1);
      return "done";
    },
    shard: {
      receivers: async () => new Set(outbox.length > 0 ? ["thing/a"] : []),
      delivered: async () => {
        outbox.shift();
        return undefined;
      },
      nextSend: async () => {
        const [number] = outbox;
        if (number === undefined) {
          // In the very moment in which there is nothing.
          if (asked.length === 1) {
            outbox.push(1);
            deliveries.look("t/account/1");
          }
          return undefined;
        }
        return { record: [number, 0, "thing/a", "go", {}], caps: [], at_ms: NOW_MS };
      },
    },
  });
  deliveries.look("t/account/1");
  for (let turn = 0; turn < 20; turn++) await quiet();
  expect(asked).toEqual([0, 1]);
});
