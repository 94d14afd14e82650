/** The type system's view of protocols: equal to the automaton's, and bounded in the work that it costs. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import { anyProtocol } from "../protocol/arbitrary.ts";
import { must } from "../support/gate.ts";
import { chain, INTERLEAVED, LONG, ROOT, typeCheck } from "./type-check.ts";

/** The combinators that build a protocol. */
function source(protocol: Protocol): string {
  switch (protocol.kind) {
    case "end":
      return "seq()";
    case "message":
      return `"${protocol.name}"`;
    case "repeat": {
      const body = source(protocol.body);
      const { min, max } = protocol;
      if (max !== Infinity) return min === 0 && max === 1 ? `opt(${body})` : `times(${body}, ${min}, ${max})`;
      return min === 0 ? `many(${body})` : `seq(${body}, many(${body}))`;
    }
    case "choice":
    case "seq":
    case "shuffle":
  }
  const parts = protocol.parts.map(source);
  const name = { choice: "or", seq: "seq", shuffle: parts.length === 2 ? "both" : "bag" }[protocol.kind];
  return `${name}(${parts.join(", ")})`;
}

/** Some words of the protocol's prefixes, the empty one first, and what is enabled after each. */
function walks(protocol: Protocol): readonly { word: readonly string[]; enabled: readonly string[] }[] {
  const automaton = must(compileProtocol(protocol));
  const found = [{ state: 0, word: [] as string[] }];
  for (const { state, word } of found) {
    for (const message of automaton.enabled(state))
      if (found.length < 12)
        found.push({ state: automaton.next(state, message) ?? 0, word: [...word, message] });
  }
  return found.map(({ state, word }) => ({ word, enabled: automaton.enabled(state) }));
}

describe("types", () => {
  it("enable after every word what the automaton enables, on random protocols", async () => {
    const protocols = fc.sample(anyProtocol, { numRuns: 120, seed: 7 });
    const lines: string[] = [];
    for (const [i, protocol] of protocols.entries()) {
      lines.push(`const e${i} = seq(${source(protocol)}); // ${printProtocol(protocol)}`);
      for (const { word, enabled } of walks(protocol)) {
        const names = enabled.map((name) => `"${name}"`).join(" | ") || "never";
        const after = `After<TypeIn<typeof e${i}>, ${JSON.stringify(word)}>`;
        lines.push(`same<Enabled<${after}>, ${names}>(true);`);
      }
    }
    const head = `
      import { bag, both, type Expression, many, opt, or, seq, times } from "${ROOT}src/sdk/protocol.ts";
      import type { After, Enabled } from "${ROOT}src/sdk/protocol-types.ts";
      type TypeIn<E> = E extends Expression<infer T, string> ? T : never;
      declare function same<A, B>(yes: [A] extends [B] ? ([B] extends [A] ? true : false) : false): void;
    `;
    expect(lines.length).toBeGreaterThan(500);
    const wrong = `same<Enabled<TypeIn<typeof e0>>, "no_such">(true);`;
    const { errors } = await typeCheck({ "random.ts": [head, ...lines, wrong].join("\n") });
    expect(errors).toHaveLength(1); // The planted one: the others are what they claim.
    expect(errors[0]).toContain(`random.ts(${[head, ...lines].join("\n").split("\n").length + 1},`);
  });

  // The SDK alone takes 31,000. An expansion of the interleaving into states would take 4^20.
  it.each([
    ["20 interleaved open, use, close", INTERLEAVED, 150_000],
    ["a sequence of 500 messages", LONG, 400_000],
    ["20 interleaved copies of one session", chain("bag(...copies)", ["o", "u", "c"], 20), 80_000],
    ["500 steps through repetitions", chain('seq(times("o", 0, 250), many("u"))', ["o", "u"], 250), 180_000],
  ])("%s cost no more instantiations than they may", async (_, text, most) => {
    const { errors, instantiations } = await typeCheck({ "program.ts": text });
    expect(errors).toEqual([]);
    expect(instantiations).toBeGreaterThan(10_000);
    expect(instantiations).toBeLessThan(most);
  });
});
