/** What a new user does, in each language: init, build, run, serve, mint, call. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/bytes.ts";
import { LANGUAGES } from "../../src/cli/build/build.ts";
import { MASTER } from "../support/gate.ts";
import { startNodeProcess } from "../support/node-process.ts";
import { json, postern } from "../support/postern.ts";
import { leftOut } from "../support/toolchains.ts";

const root = mkdtempSync(join(tmpdir(), "postern-languages-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe.each(Object.keys(LANGUAGES))("a handler in %s", (language) => {
  const folder = join(root, language);
  const handler = join(folder, "wasm", "counter");
  const module = join(handler, "counter.wasm");

  it.skipIf(leftOut(language))("goes from nothing to an answered call", async () => {
    expect(await json(["init", folder, "--lang", language, "--tenant", "acme"])).toMatchObject({
      tenant: "acme",
      language,
      handler,
    });
    expect(await json(["handler", "build", handler])).toEqual({
      ok: true,
      problems: [],
      built: [{ folder: handler, language, file: module, size_bytes: readFileSync(module).length }],
    });
    const turn = join(folder, "turn.json");
    writeFileSync(turn, '{"state":{"count":40},"message":"add","args":{"amount":2}}');
    expect(await json(["handler", "run", module, turn])).toEqual({
      reply: { count: 42 },
      state: { count: 42 },
      fuel: expect.any(Number) as number,
      memory_bytes: expect.any(Number) as number,
      time_us: expect.any(Number) as number,
    });
    writeFileSync(turn, '{"state":{"count":999999},"message":"add","args":{"amount":2}}');
    expect(await json(["handler", "run", module, turn])).toMatchObject({
      error: { code: "handler_error", handler_code: "full", detail: "the counter goes up to 1000000" },
    });

    expect(await serveAndCall(folder)).toEqual(['{"count":5}', '{"count":12}', '{"count":12}']);
  });
});

/** Two additions and a look, each a signed call to a node of its own. */
async function serveAndCall(folder: string): Promise<readonly string[]> {
  const store = join(folder, "store");
  mkdirSync(store);
  const node = await startNodeProcess(store, ["--policies", join(folder, "policies")]);
  const file = (name: string): string => join(folder, name);
  try {
    const { stdout: holder } = await postern(["keygen", "--out", file("key")]);
    const minted = await postern(
      ["mint", "--store", `file:${store}`, "--actor", "counter/1", "--holder", holder.trim()],
      { env: { POSTERN_MASTER_KEY: toHex(MASTER.expose()) } },
    );
    writeFileSync(file("token"), minted.stdout);
    const caller = ["--key", file("key"), "--token", file("token"), "--url", node.url];
    const results: string[] = [];
    for (const [message, args] of [
      ["add", '{"amount":5}'],
      ["add", '{"amount":7}'],
      ["read", "{}"],
    ] as const) {
      const { stdout, stderr } = await postern(["call", "counter/1", message, args, ...caller]);
      results.push((stdout || stderr).trim());
    }
    return results;
  } finally {
    await node.kill();
  }
}
