/**
 * Nodes that are killed by their supervisor, and come back: real processes, and handlers that nothing else stops.
 *
 * The hostile modules are written into the store past admission, without the code that counts fuel.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../../src/cli/command.ts";
import { type Caller, type CallOutcome, send, signCall } from "../../src/sdk/client.ts";
import { Supervisor } from "../../src/server/supervisor.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { guest } from "../dispatch/guests.ts";
import { inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { postern } from "../support/postern.ts";
import { publishTenant } from "../support/tenant.ts";

const IMPATIENT = fileURLToPath(new URL("../support/impatient-supervisor.ts", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "postern-supervisor-"));
const env = { POSTERN_MASTER_KEY: Buffer.from(MASTER.expose()).toString("hex") };

/** What the sandbox sets, and this module never looks at. */
const UNMETERED = `
  (global (export "__pn_fuel") (mut i64) (i64.const 0))
  (global (export "__pn_stack") (mut i64) (i64.const 0))
  (global (export "__pn_oom") (mut i32) (i32.const 0))`;

const LOOPS: Readonly<Record<string, Uint8Array>> = {
  "a loop that computes": guest("(loop $l (br $l)) (i64.const 0)", UNMETERED),
  "a loop that fills memory": guest(
    "(loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 16000000)) (br $l)) (i64.const 0)",
    UNMETERED,
    "256",
  ),
  "tail calls": guest(
    "(return_call $f (i32.const 0))",
    `${UNMETERED} (func $f (param i32) (result i64) (return_call $f (local.get 0)))`,
  ),
};

let node: NodeProcess;
let events: {
  event: string;
  handler?: string;
  hash?: string;
  detail?: string;
  url?: string;
  pid?: number;
}[] = [];

function start(): Promise<NodeProcess> {
  events = [];
  return startNodeProcess(
    directory,
    [],
    {},
    (line) => events.push(JSON.parse(line) as (typeof events)[0]),
    IMPATIENT,
  );
}

async function withStore<T>(work: (store: ReturnType<typeof sqliteStore>) => Promise<T>): Promise<T> {
  const store = sqliteStore(directory);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

function callerOf(tenant: string, actor: string): Promise<Caller> {
  return withStore(async (store) => {
    const key = activeKey(must(await readKeyring(store, tenant, MASTER)));
    if (key === undefined) throw new Error("no key");
    const signer = newSigner();
    const token = mintToken(key, [`actor = ${actor}`, inOneHour(), `holder = ${signer.publicKey}`], tenant);
    return { url: node.url, token, signer, now_ms: () => Date.now(), random };
  });
}

/** @returns `undefined` where nobody answered */
function call(caller: Caller, tenant: string, actor: string, message: string, args = {}) {
  return send(signCall(caller, { tenant, actor, message, args }), fetch).catch(() => undefined);
}

async function until<T>(asked: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (;;) {
    const answer = await asked();
    if (answer !== undefined) return answer;
    await setTimeout(20);
  }
}

const served = (outcome: CallOutcome | undefined) =>
  outcome === undefined || ("problem" in outcome && outcome.problem.status === 503) ? undefined : outcome;

beforeAll(async () => {
  node = await start();
});
afterAll(async () => {
  await node.kill();
  rmSync(directory, { recursive: true, force: true });
});

describe("a turn that fuel does not end", () => {
  test.each(Object.entries(LOOPS).map(([name, raw], i) => [name, raw, `hostile-${i}`] as const))(
    "%s: the node is killed and comes back, nothing is lost, and the module runs no more",
    async (_name, raw, tenant) => {
      const account = `account/${tenant}`;
      const ada = await callerOf("demo", account);
      await withStore((store) => publishTenant(store, tenant, { raw }));
      const mallory = await callerOf(tenant, "thing/1");
      expect(
        await until(async () => served(await call(ada, "demo", account, "open", { owner: "Ada" }))),
      ).toMatchObject({ status: 200 });
      expect(await call(ada, "demo", account, "deposit", { amount: 7 })).toMatchObject({ status: 200 });
      events = [];
      const attack = until(async () => {
        const outcome = await call(mallory, tenant, "thing/1", "go");
        return outcome !== undefined && "problem" in outcome && outcome.problem.code === "no_such_tenant"
          ? undefined
          : { outcome };
      });
      expect(await attack).toEqual({ outcome: undefined });
      const balance = await until(async () => served(await call(ada, "demo", account, "balance")));
      expect(balance).toMatchObject({ status: 200, result: { balance: 7 } });
      expect(await until(async () => served(await call(mallory, tenant, "thing/1", "go")))).toMatchObject({
        problem: { code: "handler_trapped", detail: expect.stringContaining("quarantined since") },
      });
      const said = events.filter(({ event }) => /wedged|crashed|restarted|quarantined|listening/.test(event));
      expect(said.map(({ event }) => event)).toEqual([
        "turn_wedged",
        "node_crashed",
        "node_restarted",
        "handler_quarantined",
        "listening",
      ]);
      expect(said[4]?.url).toBe(node.url);
    },
    120_000,
  );

  test("stays in quarantine after a restart, until another module is published or it is lifted", async () => {
    await node.kill();
    node = await start();
    const [zero, one] = await Promise.all(
      ["hostile-0", "hostile-1"].map((tenant) => callerOf(tenant, "thing/1")),
    );
    if (zero === undefined || one === undefined) throw new Error("no callers");
    const quarantined = { problem: { code: "handler_trapped" } };
    expect(await call(zero, "hostile-0", "thing/1", "go")).toMatchObject(quarantined);
    expect(await call(one, "hostile-1", "thing/1", "go")).toMatchObject(quarantined);
    await withStore((store) => publishTenant(store, "hostile-0"));
    const answer = await until(async () => {
      const outcome = await call(zero, "hostile-0", "thing/1", "go");
      return outcome !== undefined && "result" in outcome ? outcome.result : undefined;
    });
    expect(answer).toBe(1);
    const store = ["--store", `file:${directory}`];
    const listed = await postern(["quarantine", ...store, "--json"], { env });
    const { handlers } = JSON.parse(listed.stdout) as { handlers: { hash: string; tenant: string }[] };
    expect(handlers.map(({ tenant }) => tenant)).toEqual(["hostile-0", "hostile-1", "hostile-2"]);
    const hash = handlers[1]?.hash ?? "";
    expect(await postern(["quarantine", ...store, "--lift", hash], { env })).toMatchObject({ code: 0 });
    expect(await postern(["quarantine", ...store, "--lift", hash], { env })).toMatchObject({ code: 1 });
    const left = await postern(["quarantine", ...store], { env });
    expect(left.stdout).not.toContain(hash);
  }, 60_000);
});

describe("a node", () => {
  test("that is killed comes back at the same place with all that it has acknowledged", async () => {
    const bob = await callerOf("demo", "account/bob");
    expect(await call(bob, "demo", "account/bob", "open", { owner: "Bob" })).toMatchObject({ status: 200 });
    events = [];
    process.kill(node.pid, "SIGKILL");
    const { pid, url } = await until(() => events.find(({ event }) => event === "listening"));
    expect(pid).not.toBe(node.pid);
    expect(url).toBe(node.url);
    const again = await until(async () => served(await call(bob, "demo", "account/bob", "balance")));
    expect(again).toMatchObject({ result: { balance: 0 } });
  }, 60_000);

  test("whose loop is silent is killed, and started anew", async () => {
    const before = events.find(({ event }) => event === "listening")?.pid ?? 0;
    events = [];
    process.kill(before, "SIGSTOP");
    const { pid } = await until(() => events.find(({ event }) => event === "listening"));
    expect(pid).not.toBe(before);
    expect(events.map(({ event }) => event)).toContain("node_silent");
  }, 60_000);

  test("ends where its supervisor has been killed", async () => {
    const pid = events.find(({ event }) => event === "listening")?.pid ?? 0;
    node.child.kill("SIGKILL");
    await node.exited;
    await until(() => {
      try {
        process.kill(pid, 0);
        return undefined;
      } catch {
        return true;
      }
    });
    await expect(fetch(`${node.url}/livez`)).rejects.toThrow();
    node = await start();
  }, 60_000);

  test("ends in order on SIGTERM, also where a signal comes to both", async () => {
    const ended = await start();
    ended.signal("SIGTERM");
    expect(await ended.exited).toBe(0);
  }, 60_000);
});

describe("a node that ends", () => {
  /** Runs a script in place of a node. @returns the exit code, and what was said */
  async function supervise(script: string): Promise<[code: number | undefined, said: string[]]> {
    const said: string[] = [];
    const supervisor = new Supervisor({
      command: ["-e", script],
      env: process.env,
      unavailable: EXIT.unavailable,
      event: (event, detail) => said.push(`${event}: ${detail}`),
      patience: { turnBeats: 4, turnCpu_ms: 200, silentBeats: 8, pause_ms: 1 },
    });
    return [await supervisor.run(), said];
  }

  test("again and again is given up, and it is said why", async () => {
    const [code, said] = await supervise("process.exit(7)");
    expect(code).toBeUndefined();
    expect(said[0]).toBe("node_crashed: the node ended with exit code 7");
    expect(said.at(-1)).toMatch(/^gave_up: the node has ended 9 times in 60 s, the last time because/);
  }, 60_000);

  test("by itself is not started again: its exit code counts, also where a thread keeps it", async () => {
    expect(await supervise("process.send({ ending: 3 })")).toEqual([3, []]);
    const kept = "process.send({ ending: 0 }); setInterval(() => {}, 1000)";
    expect(await supervise(kept)).toEqual([0, []]);
  }, 60_000);

  test("because its store is away is started again where it follows another", async () => {
    const starts = JSON.stringify(join(directory, "starts"));
    const script = `const { appendFileSync, readFileSync } = require("node:fs");
      appendFileSync(${starts}, "x");
      const count = readFileSync(${starts}, "utf8").length;
      const said = [{ port: 7 }, { ending: 3 }, { ending: 1 }][count - 1];
      process.send(said, () => process.exit(9));`;
    const [code, said] = await supervise(script);
    expect(code).toBe(1);
    expect(said.filter((line) => line.startsWith("node_restarted"))).toHaveLength(2);
    expect(said[0]).toBe("node_crashed: the node ended with exit code 9");
  }, 60_000);
});
