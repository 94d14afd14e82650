/** An actor becomes what its handler names, if it is narrower: the messages that it is prepared for follow its state. */
import { describe, expect, test } from "vitest";
import type { Actor } from "../../src/actor/actor.ts";
import type { Answer, Shard } from "../../src/actor/shard.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import { BEHAVIOUR, callOf, caveat, type Given, type PlainRun, run, shardOf } from "./counter.ts";
import { changesOf, loaded, Shelf, ShelfLog } from "./shelf.ts";

const BECOME = new Map([
  ["frozen", "balance* ; close"],
  ["drained", "(withdraw | balance)* ; close"],
  ["closed", "end"],
  ["wide", "(open | deposit)*"],
]);

class Node {
  readonly shelf: Shelf;
  readonly shard: Shard;
  readonly actors;

  constructor(shelf = new Shelf()) {
    this.shelf = shelf;
    this.actors = shelf.recover();
    this.shard = shardOf({ actors: this.actors, log: new ShelfLog(shelf), read: shelf.read });
  }

  /** @param become what the handler says beside its reply */
  call(message: string, become?: string, given: Given = {}): Promise<Answer | Refusal> {
    const turn: PlainRun = (input) => {
      const result = run(input);
      return isRefusal(result) || become === undefined ? result : { ...result, become };
    };
    return this.shard.call(callOf(message, { become: BECOME, run: turn, ...given }));
  }

  async calls(...messages: readonly (string | readonly [message: string, become: string])[]): Promise<this> {
    for (const step of messages) {
      const [message, become] = typeof step === "string" ? [step] : step;
      const answer = await this.call(message ?? "", become);
      if (isRefusal(answer)) throw new Error(answer.detail);
    }
    return this;
  }

  actor(): Promise<Actor> {
    return loaded(this.actors, "t/account/1", this.shelf.read);
  }

  contents(): unknown {
    return [this.shelf.entries, changesOf(this.actors)];
  }
}

describe("an actor that has become something", () => {
  test("goes on under it, whoever calls, and says so", async () => {
    const node = await new Node().calls("open", "deposit", ["deposit", "frozen"]);
    expect((await node.actor()).behaviour).toEqual({
      expression: "balance* ; close",
      state: 0,
      name: "frozen",
      by: "t",
    });
    const refused = await node.call("withdraw", undefined, { token: { root: "r", digest: "another" } });
    expect(refused).toEqual(
      refuse(
        "out_of_order",
        "withdraw is not admitted now by the actor's behaviour frozen, which another token moved last; " +
          "admitted now: balance, close",
        { enabled: ["balance", "close"], behaviour: "frozen", moved_by_sibling: true },
      ),
    );
    await node.calls("balance", "close");
    expect(await node.call("balance")).toMatchObject({ facts: { enabled: [], behaviour: "frozen" } });
  });

  test("steps the message that became so first, with all other monitors", async () => {
    const node = await new Node().calls("open");
    const monitors = [caveat("m", "deposit ; withdraw")];
    expect(await node.call("deposit", "drained", { monitors })).toMatchObject({ kept: false });
    expect(await node.call("deposit", undefined, { monitors })).toMatchObject({
      facts: { behaviour: "drained" },
    });
    expect(await node.call("withdraw", undefined, { monitors })).toMatchObject({ kept: false });
    expect((await node.actor()).behaviour).toMatchObject({ name: "drained", state: 0 });
  });

  test.each([
    ["the log", false],
    ["a checkpoint", true],
  ])("is what it was when it is recovered from %s", async (_, checkpoint) => {
    const node = await new Node().calls("open", ["deposit", "drained"], "withdraw");
    if (checkpoint) node.shelf.checkpoint(node.actors);
    const next = new Node(node.shelf);
    expect(await next.actor()).toEqual(await node.actor());
    expect(await next.call("deposit")).toMatchObject({ code: "out_of_order" });
    expect(await next.call("close")).toMatchObject({ kept: false });
  });

  test("may become something narrower still, and never anything wider again", async () => {
    const node = await new Node().calls("open", ["deposit", "drained"], ["withdraw", "frozen"]);
    for (const name of ["drained", "wide"])
      expect(await node.call("close", name)).toMatchObject({ code: "handler_invalid" });
    await node.calls(["close", "closed"]);
    expect(await node.call("balance")).toMatchObject({ code: "out_of_order", facts: { enabled: [] } });
  });

  test("has begun by that, also without a state and at a start", async () => {
    const stateless = {
      behaviour: "(open | balance)*",
      run: () => ({ reply: 1, state: undefined, become: "quiet" }),
    };
    const become = new Map([["quiet", "balance*"]]);
    const node = new Node();
    expect(await node.call("open", undefined, { ...stateless, become })).toMatchObject({ kept: false });
    const quiet = { expression: "balance*", state: 0, name: "quiet" };
    expect((await node.actor()).behaviour).toMatchObject(quiet);
    expect(await node.call("open", undefined, stateless)).toMatchObject({ facts: { behaviour: "quiet" } });
    const next = new Node(node.shelf);
    expect((await next.actor()).behaviour).toMatchObject(quiet);
    expect(await next.call("open", undefined, stateless)).toMatchObject({ facts: { behaviour: "quiet" } });
  });

  test("stays under the words that it became so by, whatever the policy says later", async () => {
    const node = await new Node().calls("open", ["deposit", "frozen"]);
    const become = new Map([["frozen", "(deposit | withdraw)*"]]);
    expect(await node.call("deposit", undefined, { become, behaviour: "deposit*" })).toMatchObject({
      code: "out_of_order",
      facts: { enabled: ["balance", "close"] },
    });
  });
});

describe("is refused whole, and changes nothing", () => {
  test.each([
    [
      "what the policy does not name",
      "deposit",
      "molten",
      'the handler became "molten", which the policy does not name; it names frozen, drained, closed, wide',
    ],
    [
      "what would widen",
      "deposit",
      "wide",
      "the handler became wide ((open | deposit)*), which is no narrower: after nothing it admits open, where the " +
        "actor was prepared for balance, close, deposit, withdraw",
    ],
    [
      "what is too wide after the turn's own message",
      "close",
      "frozen",
      "the handler became frozen (balance* ; close), which is no narrower: after nothing it admits balance, where " +
        "the actor was prepared for nothing",
    ],
    [
      "what a message that reads would become",
      "balance",
      "frozen",
      'balance is declared to read only, but the handler became "frozen"',
    ],
  ])("%s", async (_, message, become, detail) => {
    const node = await new Node().calls("open");
    const before = node.contents();
    const given = {
      idempotency: { key: "k", digest: "d" },
      monitors: [caveat("m", `${message} ; ${message}`)],
    };
    const answer = await node.call(message, become, given);
    expect(answer).toEqual(refuse("handler_invalid", detail));
    expect(node.contents()).toEqual(before);
    expect((await node.actor()).behaviour).toMatchObject({ expression: BEHAVIOUR, name: undefined });
    // The same key may try again.
    expect(await node.call("deposit", undefined, { idempotency: { key: "k", digest: "d" } })).toMatchObject({
      kept: false,
    });
  });

  test("one that takes too long to compare", async () => {
    const long = {
      behaviour: "((open;deposit){100,100})*",
      become: new Map([["long", "((open;deposit){99,99})*"]]),
    };
    const node = new Node();
    await node.call("open", undefined, long);
    expect(await node.call("deposit", "long", long)).toMatchObject({
      code: "handler_invalid",
      detail: expect.stringContaining("40000 steps") as unknown,
    });
    expect((await node.actor()).behaviour).toMatchObject({ state: 1 });
  });
});
