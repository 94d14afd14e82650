/** Typed references: what compiles, what a use costs them, and what a program is told. */
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import type { Fetch } from "../../src/sdk/client.ts";
import {
  bag,
  both,
  CallRefusedError,
  InvalidValueError,
  type Link,
  many,
  msg,
  OutcomeUnknownError,
  opt,
  or,
  protocol,
  type ReferenceAfter,
  ReferenceUsedError,
  seq,
  times,
} from "../../src/sdk/protocol.ts";
import {
  freshAccount,
  mintToken,
  must,
  narrow,
  newSigner,
  party,
  random,
  startGate,
  type TestGate,
} from "../support/gate.ts";

type Balance = { balance: number };
const account = protocol(
  {
    open: msg<{ owner: string }, Balance>(),
    deposit: msg<{ amount: number }, Balance>(),
    withdraw: msg<{ amount: number }, Balance>(),
    balance: msg<void, Balance>(),
    close: msg<void, Balance>(),
  },
  seq("open", many(or("deposit", "withdraw", "balance")), "close"),
);
type Opened = ReferenceAfter<typeof account, ["open"]>;

/** A link whose gate answers what the test says, and keeps what was sent. */
function scripted(...answers: readonly (readonly [status: number, body: unknown] | Error)[]) {
  const keys: (string | undefined)[] = [];
  const bodies: string[] = [];
  const clock = { now_ms: 1_700_000_000_000 };
  const fetch: Fetch = async (_, { headers, body }) => {
    const answer = answers[keys.length];
    keys.push(headers["idempotency-key"]);
    bodies.push(new TextDecoder().decode(body));
    if (answer === undefined) throw new Error("the script has ended");
    if (answer instanceof Error) throw answer;
    return { status: answer[0], json: async () => answer[1] };
  };
  const token = mintToken(gate.key, []);
  const signer = newSigner();
  const caller = { url: "http://gate.example", token, signer, now_ms: () => clock.now_ms, random };
  const link: Link = { ...caller, tenant: "demo", actor: "account/1", fetch };
  return { link, keys, bodies, clock };
}

const problem = (code: string, status: number) => [status, { code, detail: "because" }] as const;

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

describe("a reference, in its types", () => {
  it("has the messages that are enabled, and no others", () => {
    const check = async (start: ReferenceAfter<typeof account, []>) => {
      expectTypeOf<keyof typeof start & string>().toEqualTypeOf<"open">();
      // @ts-expect-error a deposit before the account is open
      void start.deposit({ amount: 5 });
      const { result, next } = await start.open({ owner: "Ada" });
      expectTypeOf(result).toEqualTypeOf<Balance>();
      expectTypeOf<keyof typeof next & string>().toEqualTypeOf<
        "deposit" | "withdraw" | "balance" | "close"
      >();
      // @ts-expect-error an account is opened once
      void next.open({ owner: "Ada" });
      // @ts-expect-error an amount is a number
      void next.deposit({ amount: "5" });
      // @ts-expect-error a deposit has an amount
      void next.deposit();
      void next.balance(undefined, { timeout_ms: 5 });
      const closed = await next.close();
      expectTypeOf<keyof typeof closed.next & string>().toEqualTypeOf<never>();
    };
    expect(check).toBeTypeOf("function");
  });

  it("is of one type wherever the protocol is at one point: loops and functions work", () => {
    const check = async (opened: Opened) => {
      let reference = opened;
      for (let i = 0; i < 3; i++) reference = (await reference.deposit({ amount: 1 })).next;
      const takes = (given: Opened) => given;
      takes(reference);
      // @ts-expect-error a reference that is used up is at another point
      takes((await reference.close()).next);
    };
    expect(check).toBeTypeOf("function");
  });

  it("takes its arguments and results from Standard Schemas", () => {
    const typed = protocol(
      {
        say: msg({
          args: z.strictObject({ text: z.string().default("") }),
          result: z.string().transform(Number),
        }),
      },
      seq("say"),
    );
    const check = async (start: ReferenceAfter<typeof typed, []>) => {
      const { result } = await start.say({});
      expectTypeOf(result).toEqualTypeOf<number>();
      // @ts-expect-error no such member
      void start.say({ word: "" });
    };
    expect(check).toBeTypeOf("function");
  });

  it("needs every name declared, and literal", () => {
    // @ts-expect-error `b` is not declared
    protocol({ a: msg() }, seq("a", "b"));
    const name: string = "a";
    // @ts-expect-error a name that is not known while compiling
    protocol({ a: msg() }, seq(name));
    expect(account.text).toBe("open;(deposit|withdraw|balance)*;close");
  });
});

describe("combinators", () => {
  it.each([
    [seq("a", seq("b", "c")), "a;b;c"],
    [or("a", or("b", "c")), "a|b|c"],
    [bag("a", both("b", "c")), "a&b&c"],
    [seq(opt("a"), times(or("b", "c"), 2, 3), many(seq("a", "b"))), "a?;(b|c){2,3};(a;b)*"],
    [seq(), "end"],
    [seq("a"), "a"],
  ])("print as the gate's language: %#", ({ protocol: tree }, text) => {
    expect(printProtocol(tree)).toBe(text);
    expect(must(compileProtocol(text)).stateCount).toBeGreaterThan(0);
  });

  it("refuse what no gate would take", () => {
    const sessions = Array.from({ length: 12 }, (_, i) => i);
    const order = bag(...sessions.map((i) => seq(`o${i}` as "o", many(`u${i}` as "u"), `c${i}` as "c")));
    expect(() => protocol({ o: msg(), u: msg(), c: msg() }, order)).toThrow(
      /steps to compile|more than \d+ states/,
    );
    expect(() => protocol({ a: msg() }, seq("then" as "a"))).toThrow(/named then/);
  });
});

describe("a reference on a gate", () => {
  it("goes through the protocol, and a refused call leaves it as it was", async () => {
    const actor = freshAccount();
    const start = account.connect({ ...party(gate, actor), tenant: "demo", actor, fetch });
    const opened = await start.open({ owner: "Ada" });
    expect(opened.result).toEqual({ balance: 0 });
    const { next } = await opened.next.deposit({ amount: 5 });
    await expect(next.withdraw({ amount: 50 })).rejects.toThrow(CallRefusedError);
    await expect(next.withdraw({ amount: 50 })).rejects.toMatchObject({ problem: { code: "handler_error" } });
    const { result } = await next.withdraw({ amount: 2 });
    expect(result).toEqual({ balance: 3 });
  });

  it("goes on from where another process was", async () => {
    const actor = freshAccount();
    const link = { ...party(gate, actor), tenant: "demo", actor, fetch };
    await account.connect(link).open({ owner: "Ada" });
    const { result } = await account.connect(link, "open").deposit({ amount: 7 });
    expect(result).toEqual({ balance: 7 });
    expect(() => account.connect(link, "close" as "open")).toThrow("close is no beginning");
  });

  it("is not made of a token that admits less than the types allow", () => {
    const { token } = party(gate, "account/1");
    expect(account.mismatch(token)).toBeUndefined();
    const bad = narrow(token, formatCaveat("protocol", "open;deposit{0,2};close"));
    expect(account.mismatch(bad)).toBe(
      "caveat 4 (protocol = open;deposit{0,2};close) does not admit balance after open",
    );
    expect(account.mismatch(narrow(token, "message in open,close"))).toMatch(/does not admit balance$/);
    const rest = narrow(token, formatCaveat("protocol", "(deposit|withdraw|balance)*;close"));
    expect(account.mismatch(rest)).toMatch(/does not admit open$/);
    expect(account.mismatch(rest, "open")).toBeUndefined();
    expect(account.mismatch("pst_no")).toEqual(expect.any(String));
    expect(() => account.connect({ ...scripted().link, token: bad })).toThrow(
      "does not admit balance after open",
    );
  });
});

describe("a use", () => {
  it("uses the reference up, and the next one is told where", async () => {
    const { link } = scripted([200, { balance: 0 }]);
    const start = account.connect(link);
    await start.open({ owner: "Ada" });
    const again = start.open({ owner: "Ada" });
    await expect(again).rejects.toThrow(ReferenceUsedError);
    await expect(again).rejects.toThrow(
      /used up by open at .*protocol\.test\.ts:\d+:\d+; go on with the `next`/,
    );
  });

  it("is one at a time", async () => {
    const { link, keys } = scripted([200, { balance: 0 }]);
    const start = account.connect(link);
    const first = start.open({ owner: "Ada" });
    await expect(start.open({ owner: "Ada" })).rejects.toThrow(/in use by open at .*protocol\.test\.ts/);
    await first;
    expect(keys).toHaveLength(1);
  });

  it("that is refused frees the reference for another", async () => {
    const { link, keys } = scripted(problem("overloaded", 503), problem("handler_error", 422), [
      200,
      { balance: 0 },
    ]);
    const opened = account.connect(link, "open");
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow("deposit was refused: overloaded: because");
    await expect(opened.withdraw({ amount: 1 })).rejects.toThrow(CallRefusedError);
    await opened.close();
    expect(new Set(keys).size).toBe(3);
  });

  it.each([
    ["no answer", new Error("cut")],
    ["an unknown outcome", problem("outcome_unknown", 504)],
    ["a proxy's answer", [502, "<html>"] as const],
    ["a code from nowhere", [400, { code: "toString" }] as const],
  ])("with %s may be repeated under its key, and nothing else may be done", async (_, answer) => {
    const { link, keys } = scripted(answer, problem("overloaded", 503), [200, { balance: 1 }]);
    const opened = account.connect(link, "open");
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(OutcomeUnknownError);
    await expect(opened.deposit({ amount: 2 })).rejects.toThrow(
      /bound to deposit at .*whose outcome is not known/,
    );
    await expect(opened.close()).rejects.toThrow(ReferenceUsedError);
    // That a node is busy says nothing about the first attempt.
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(OutcomeUnknownError);
    await expect(opened.close()).rejects.toThrow(ReferenceUsedError);
    expect((await opened.deposit({ amount: 1 })).result).toEqual({ balance: 1 });
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
  });

  it("with an unknown outcome that is then refused for good is settled", async () => {
    const { link } = scripted(new Error("cut"), problem("handler_error", 422), [200, {}]);
    const opened = account.connect(link, "open");
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(OutcomeUnknownError);
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(CallRefusedError);
    await opened.close();
  });

  it("is not repeated when the gate may have forgotten its reply", async () => {
    const { link, clock } = scripted(new Error("cut"));
    const opened = account.connect(link, "open");
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(OutcomeUnknownError);
    clock.now_ms += 10 * 60_000 + 1;
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(/keeps no longer/);
  });

  it("of a message that is not enabled says what is, where the types were evaded", async () => {
    const { link, keys } = scripted();
    const start = account.connect(link) as unknown as Opened;
    await expect(start.close()).rejects.toThrow("close is not enabled here; enabled: open");
    expect(Object.keys(start)).toEqual(["open"]);
    expect(keys).toEqual([]);
  });
});

describe("values with a Standard Schema", () => {
  const typed = protocol(
    {
      say: msg({
        args: z.strictObject({ text: z.string().default("-") }),
        result: z.string().transform(Number),
      }),
    },
    many("say"),
  );

  it("are sent and returned as the schema makes them", async () => {
    const { link, bodies } = scripted([200, "5"]);
    expect((await typed.connect(link).say({})).result).toBe(5);
    expect(bodies).toEqual(['{"text":"-"}']);
  });

  it("that are wrong are not sent, and the reference stays usable", async () => {
    const { link, keys } = scripted([200, "5"]);
    const reference = typed.connect(link);
    const wrong = { text: 5 } as unknown as { text: string };
    await expect(reference.say(wrong)).rejects.toThrow(/^the arguments of say: at text: /);
    await reference.say({ text: "a" });
    expect(keys).toHaveLength(1);
  });

  it("that come back wrong are told, with the reference to go on with", async () => {
    const { link } = scripted([200, { not: "text" }], [200, "6"]);
    const reference = typed.connect(link);
    const failed = await reference.say({ text: "a" }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(InvalidValueError);
    const { next } = failed as InvalidValueError;
    expect((await (next as typeof reference).say({ text: "b" })).result).toBe(6);
    await expect(reference.say({ text: "a" })).rejects.toThrow(/used up/);
  });
});

describe("a batch", () => {
  it("has at each step the messages that are enabled there, and the results that will be", () => {
    const check = async (opened: Opened) => {
      const { results, next } = await account.batch(opened, (start) => {
        expectTypeOf<keyof typeof start>().toEqualTypeOf<"deposit" | "withdraw" | "balance" | "close">();
        const paid = start.deposit({ amount: 5 });
        // @ts-expect-error an amount is a number, and no whole result
        paid.next.withdraw({ amount: paid.result });
        // @ts-expect-error no such member
        paid.next.withdraw({ amount: paid.result.cents });
        // @ts-expect-error it is not there yet
        expectTypeOf(paid.result.balance).toEqualTypeOf<number>();
        const closed = paid.next.withdraw({ amount: paid.result.balance }).next.close();
        // @ts-expect-error nothing follows
        closed.next.balance();
        return closed;
      });
      expectTypeOf(results).toEqualTypeOf<readonly [Balance, Balance, Balance]>();
      expectTypeOf<keyof typeof next & string>().toEqualTypeOf<never>();
      const again = await account.batch(opened, (start) => start.balance());
      const takes = (given: Opened) => given;
      takes(again.next);
    };
    expect(check).toBeTypeOf("function");
  });

  it("runs whole on a gate, and the next reference goes on behind it", async () => {
    const actor = freshAccount();
    const start = account.connect({ ...party(gate, actor), tenant: "demo", actor, fetch });
    const { results, next } = await account.batch(start, (begin) => {
      const paid = begin.open({ owner: "Ada" }).next.deposit({ amount: 7 });
      return paid.next.withdraw({ amount: paid.result.balance });
    });
    expect(results).toEqual([{ balance: 0 }, { balance: 7 }, { balance: 0 }]);
    const poor = account.batch(next, (begin) => begin.deposit({ amount: 1 }).next.withdraw({ amount: 2 }));
    await expect(poor).rejects.toMatchObject({ problem: { code: "handler_error", call: 1 } });
    await expect(poor).rejects.toThrow("a batch of deposit, withdraw was refused");
    expect((await next.balance()).result).toEqual({ balance: 0 });
    await expect(account.batch(start, (begin) => begin.open({ owner: "Eve" }))).rejects.toThrow(/used up by/);
  });

  it("whose outcome is unknown binds the reference to it, under one key", async () => {
    const { link, keys, bodies } = scripted(new Error("cut"), [200, [{ balance: 1 }]]);
    const opened = account.connect(link, "open");
    const pay = (amount: number) => account.batch(opened, (start) => start.deposit({ amount }));
    await expect(pay(1)).rejects.toThrow(OutcomeUnknownError);
    await expect(pay(2)).rejects.toThrow(/bound to a batch of deposit at .*protocol\.test\.ts/);
    await expect(opened.deposit({ amount: 1 })).rejects.toThrow(ReferenceUsedError);
    expect((await pay(1)).results).toEqual([{ balance: 1 }]);
    expect(new Set(keys).size).toBe(1);
    expect(bodies).toEqual(Array(2).fill('[{"message":"deposit","args":{"amount":1}}]'));
  });

  it("writes what is passed on as references to its own calls, whatever way it was planned", async () => {
    const { link, bodies } = scripted([200, [{}, {}]]);
    const opened = account.connect(link, "open");
    await account.batch(opened, (start) => {
      start.balance();
      const paid = start.deposit({ amount: 1 });
      paid.next.close();
      return paid.next.withdraw({ amount: paid.result.balance });
    });
    expect(bodies).toEqual([
      '[{"message":"deposit","args":{"amount":1}},{"message":"withdraw","args":{"amount":{"$ref":"$0.balance"}}}]',
    ]);
    const stranger = account.batch(account.connect(link, "open"), (start) => {
      const looked = start.balance();
      return start.deposit({ amount: looked.result.balance });
    });
    await expect(stranger).rejects.toThrow("refers to a result of balance that is not in it");
  });

  it("of a message that is not enabled, or of no plan, is not sent", async () => {
    const { link, keys } = scripted();
    const opened = account.connect(link, "open");
    const evaded = (start: object) => (start as { open(args: object): never }).open({ owner: "Ada" });
    await expect(account.batch(opened, evaded)).rejects.toThrow("open is not enabled here; enabled: balance");
    await expect(account.batch(opened, () => ({}) as never)).rejects.toThrow("returns the last of its steps");
    expect(keys).toEqual([]);
  });

  it("checks values with their Standard Schemas, but for those that are not there yet", async () => {
    const number = z.strictObject({ n: z.number().default(3) });
    const typed = protocol(
      { ask: msg({ args: number, result: z.object({ n: z.string().transform(Number) }) }) },
      many("ask"),
    );
    const { link, bodies } = scripted([200, [{ n: "1" }, { n: "2" }]]);
    const reference = typed.connect(link);
    const wrong = typed.batch(reference, (start) => start.ask({ n: "1" as unknown as number }));
    await expect(wrong).rejects.toThrow(/^the arguments of ask: at n: /);
    const { results } = await typed.batch(reference, (start) => {
      const asked = start.ask({});
      return asked.next.ask({ n: asked.result.n });
    });
    expect(results).toEqual([{ n: 1 }, { n: 2 }]);
    expect(bodies).toEqual([
      '[{"message":"ask","args":{"n":3}},{"message":"ask","args":{"n":{"$ref":"$0.n"}}}]',
    ]);
  });
});
