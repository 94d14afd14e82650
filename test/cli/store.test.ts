/** `postern store` on real directories: what a backup is good for is that a node can serve from it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { postern } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-store-cli-"));
const file = (name: string): string => join(directory, name);
const url = (name: string): string => `file:${file(name)}`;

beforeAll(async () => {
  expect(await postern(["apply", "policies", "--store", url("main")])).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("store check", () => {
  it("says that a store is whole, or what is wrong with which object", async () => {
    const whole = await postern(["store", "check", "--store", url("main")]);
    expect(whole).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+ objects, [\d.]+ MB: no problems\n$/),
    });
    expect(await postern(["store", "copy", url("main"), url("hurt")])).toMatchObject({ code: 0 });
    const database = new DatabaseSync(join(file("hurt"), "store.sqlite"));
    database.exec("UPDATE objects SET body = x'00' WHERE key = 'policy/demo'");
    database.close();
    const { code, stdout } = await postern(["store", "check", "--store", url("hurt"), "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      problems: [{ key: "policy/demo", detail: "it is damaged or of another version" }],
    });
    const { stdout: told } = await postern(["store", "check", "--store", url("hurt")]);
    expect(told).toMatch(/^policy\/demo: it is damaged .*\n\d+ objects, [\d.]+ MB: 1 problem\n$/);
    // Publishing it again mends it.
    const policy = await postern(["mint", "--actor", "account/1", "--store", url("hurt")]);
    expect(policy).toMatchObject({ code: 3, stderr: expect.stringContaining("policy/demo is damaged") });
    expect(await postern(["apply", "policies", "--store", url("hurt")])).toMatchObject({ code: 0 });
    expect(await postern(["store", "check", "--store", url("hurt")])).toMatchObject({ code: 0 });
  });

  it("needs a store that is there, with its key, and makes neither", async () => {
    expect(await postern(["store", "check", "--store", url("absent")])).toMatchObject({ code: 2 });
    expect(existsSync(file("absent"))).toBe(false);
    expect(await postern(["store", "copy", url("main"), url("keyless")])).toMatchObject({ code: 0 });
    rmSync(join(file("keyless"), "master.key"));
    for (const command of [["store", "check"], ["apply", "policies"], ["serve"]]) {
      const { code, stderr } = await postern([...command, "--store", url("keyless")]);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringContaining("the master key is needed"),
      });
    }
    expect(existsSync(join(file("keyless"), "master.key"))).toBe(false);
  });
});

describe("store copy", () => {
  it("makes a store that opens with the same key, mints the same tenant's tokens, and copies nothing twice", async () => {
    const copied = await postern(["store", "copy", url("main"), url("copy"), "--json"]);
    expect(JSON.parse(copied.stdout)).toMatchObject({ ok: true, there: 0, problems: [] });
    expect(readFileSync(join(file("copy"), "master.key"))).toEqual(
      readFileSync(join(file("main"), "master.key")),
    );
    const again = await postern(["store", "copy", url("main"), url("copy"), "--json"]);
    expect(JSON.parse(again.stdout)).toMatchObject({ ok: true, copied: 0 });
    const minted = await postern([
      "mint",
      "--store",
      url("copy"),
      "--actor",
      "account/1",
      "--holder",
      "a".repeat(64),
    ]);
    const inspected = await postern(["inspect", "--store", url("main")], { stdin: minted.stdout });
    expect(inspected).toMatchObject({ code: 0, stdout: expect.stringContaining("; verified") });
  });

  it("does not copy into a store that is something else", async () => {
    expect(await postern(["apply", "policies", "--store", url("other")])).toMatchObject({ code: 0 });
    const { code, stderr } = await postern(["store", "copy", url("main"), url("other")]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining("with other bytes") });
  });

  it("tells wrong usage", async () => {
    for (const args of [
      [],
      ["copy"],
      ["copy", url("main")],
      ["check", "more"],
      ["move", url("main"), url("x")],
    ])
      expect(await postern(["store", ...args])).toMatchObject({ code: 2 });
    writeFileSync(file("plain"), "");
    expect(await postern(["store", "copy", url("main"), url("plain")])).toMatchObject({ code: 2 });
  });
});
