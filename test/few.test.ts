/** Few at once, and one tenant's slow work does not hold up another's. */
import { expect, it } from "vitest";
import { Few } from "../src/few.ts";
import { quiet } from "./actor/shelf.ts";

/** Work that begins, and ends when it is told to. */
class Bench {
  readonly begun: string[] = [];
  readonly #few = new Few({ most: 3, mostOfOne: 2 });
  readonly #ends = new Map<string, () => void>();

  /** @param name of which the first letter says whose it is */
  run(name: string): Promise<string> {
    return this.#few.run(name.charAt(0), async () => {
      this.begun.push(name);
      await new Promise<void>((resolve) => this.#ends.set(name, resolve));
      if (name.endsWith("!")) throw new Error(name);
      return name;
    });
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await quiet();
  }
}

it("runs so many at once, of one only a part, and the rest in order", async () => {
  const bench = new Bench();
  const all = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"].map((name) => bench.run(name));
  await quiet();
  expect(bench.begun).toEqual(["a1", "a2", "b1"]);
  await bench.end("b1");
  expect(bench.begun.at(-1)).toBe("b2");
  await bench.end("b2");
  expect(bench.begun.at(-1)).toBe("c1");
  await bench.end("c1");
  // A place is free, and it is nobody's who waits.
  expect(bench.begun).toHaveLength(5);
  await bench.end("a1");
  expect(bench.begun.at(-1)).toBe("a3");
  await bench.end("a3");
  expect(bench.begun.at(-1)).toBe("a4");
  for (const name of ["a2", "a4"]) await bench.end(name);
  expect(await Promise.all(all)).toEqual(["a1", "a2", "a3", "a4", "b1", "b2", "c1"]);
});

it("has its place again where work fails", async () => {
  const bench = new Bench();
  const failing = [bench.run("a1!"), bench.run("a2!")].map((work) => work.catch(() => "failed"));
  const next = bench.run("a3");
  await quiet();
  await bench.end("a1!");
  expect(bench.begun.at(-1)).toBe("a3");
  await bench.end("a2!");
  await bench.end("a3");
  expect([await next, ...(await Promise.all(failing))]).toEqual(["a3", "failed", "failed"]);
});
