import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { enabledNow, type Monitor, monitorId, type Step, stepAll } from "../../src/protocol/monitor.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import { anyLetter, anyProtocol } from "./arbitrary.ts";
import { LETTERS } from "./oracle.ts";

function monitor(id: string, protocol: string | Protocol, index?: number): Monitor {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  if (index === undefined) return { id, automaton };
  const text = typeof protocol === "string" ? protocol : printProtocol(protocol);
  return { id, automaton, caveat: { index, text: `protocol = ${text}` } };
}

/** The part of an actor's state that holds monitors: steps are applied only where the call was admitted. */
class Actor {
  readonly states = new Map<string, number>();
  readonly stateOf = (id: string): number => this.states.get(id) ?? 0;

  send(monitors: readonly Monitor[], message: string): readonly Step[] | Refusal {
    const steps = stepAll(monitors, this.stateOf, message);
    if (!isRefusal(steps)) for (const { id, to } of steps) this.states.set(id, to);
    return steps;
  }
}

function refused(result: readonly Step[] | Refusal): Refusal {
  if (!isRefusal(result)) throw new Error("admitted");
  return result;
}

const account = "open;(deposit|withdraw|balance)*;close";

/** One monitor for each protocol, as if each were a caveat. */
function chain(protocols: readonly Protocol[]): Monitor[] {
  return protocols.map((protocol, index) => monitor(String(index), protocol, index));
}

describe("monitor ids", () => {
  test("are the first 16 bytes of the tagged hash of the chain signature", () => {
    const signature = new Uint8Array(32).fill(7);
    const hash = createHash("sha256").update("postern/monitor/v1").update(signature).digest("hex");
    expect(monitorId(signature)).toBe(hash.slice(0, 32));
  });
});

describe("stepping", () => {
  test("every monitor moves, and each move is told", () => {
    const monitors = [monitor("behaviour", account), monitor("c", "open;deposit*", 3)];
    expect(stepAll(monitors, () => 0, "open")).toEqual([
      { id: "behaviour", from: 0, to: 1 },
      { id: "c", from: 0, to: 1 },
    ]);
  });

  test("nobody else's monitor moves, and the same monitor is shared", () => {
    const actor = new Actor();
    const [one, other] = [monitor("1", "a;b", 0), monitor("2", "a;b", 0)];
    actor.send([one], "a");
    expect(enabledNow([one], actor.stateOf)).toEqual(["b"]);
    expect(enabledNow([other], actor.stateOf)).toEqual(["a"]);
  });

  test("without a monitor there is nothing to step", () => {
    expect(stepAll([], () => 0, "a")).toEqual([]);
  });

  test("one id twice is one monitor, which moves once", () => {
    const twice = [monitor("1", "a;b", 0), monitor("1", "a;b", 4)];
    expect(stepAll(twice, () => 0, "a")).toEqual([{ id: "1", from: 0, to: 1 }]);
  });

  test("a state that does not exist admits nothing", () => {
    expect(refused(stepAll([monitor("1", "a*", 0)], () => 77, "a")).code).toBe("out_of_order");
  });
});

describe("a refusal explains itself", () => {
  test("by the caveat that refuses, with what all admit", () => {
    const actor = new Actor();
    const monitors = [monitor("behaviour", account), monitor("c", "open;(deposit|audit)*;close", 3)];
    actor.send(monitors, "open");
    const refusal = refused(actor.send(monitors, "withdraw"));
    expect(refusal.code).toBe("out_of_order");
    expect(refusal.detail).toBe(
      "withdraw is not admitted now by caveat 3 (protocol = open;(deposit|audit)*;close); " +
        "admitted now: close, deposit",
    );
    expect(refusal.facts).toEqual({
      enabled: ["close", "deposit"],
      caveat: { index: 3, text: "protocol = open;(deposit|audit)*;close" },
    });
  });

  test("by the actor's behaviour, which is no caveat", () => {
    const refusal = refused(stepAll([monitor("behaviour", account)], () => 0, "close"));
    expect(refusal.detail).toBe("close is not admitted now by the actor's behaviour; admitted now: open");
    expect(refusal.facts).toEqual({ enabled: ["open"] });
  });

  test("finished is told from stuck", () => {
    const finished = new Actor();
    const once = [monitor("1", "a", 0)];
    finished.send(once, "a");
    expect(refused(finished.send(once, "a")).detail).toContain(
      "nothing is admitted any more: the protocol is finished",
    );
    const stuck = [monitor("1", "a", 0), monitor("2", "b", 1)];
    expect(refused(stepAll(stuck, () => 0, "a")).detail).toContain("no next message in common");
  });
});

describe("laws", () => {
  const anyProtocols = fc.array(anyProtocol, { minLength: 1, maxLength: 4 });
  const anyWord = fc.array(anyLetter, { maxLength: 8 });

  test("all step or none", () => {
    fc.assert(
      fc.property(anyProtocols, anyWord, (protocols, word) => {
        const monitors = chain(protocols);
        const actor = new Actor();
        for (const message of word) {
          const before = new Map(actor.states);
          const alone = monitors.map(({ id, automaton }) => automaton.next(actor.stateOf(id), message));
          const steps = actor.send(monitors, message);
          const admitted = !alone.includes(undefined);
          expect(isRefusal(steps)).toBe(!admitted);
          expect(actor.states).toEqual(
            admitted ? new Map(monitors.map(({ id }, i) => [id, alone[i]])) : before,
          );
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("one more monitor never admits a word that was not admitted", () => {
    fc.assert(
      fc.property(anyProtocols, anyProtocol, anyWord, (protocols, added, word) => {
        const wide = chain(protocols);
        const narrow = [...wide, monitor("added", added, wide.length)];
        const [one, other] = [new Actor(), new Actor()];
        for (const message of word) {
          expect(enabledNow(wide, one.stateOf)).toEqual(
            expect.arrayContaining([...enabledNow(narrow, other.stateOf)]),
          );
          if (isRefusal(other.send(narrow, message))) return;
          expect(isRefusal(one.send(wide, message))).toBe(false);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("what is enabled is exactly what steps", () => {
    fc.assert(
      fc.property(anyProtocols, anyWord, (protocols, word) => {
        const monitors = chain(protocols);
        const actor = new Actor();
        for (const message of word) {
          const admitted = LETTERS.filter((letter) => !isRefusal(stepAll(monitors, actor.stateOf, letter)));
          expect(enabledNow(monitors, actor.stateOf)).toEqual(admitted);
          actor.send(monitors, message);
        }
      }),
      { numRuns: 500 },
    );
  });
});
