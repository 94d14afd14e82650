/** The node as a process: start, calls by the command line, drain, fencing, and what it says when it cannot start. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/bytes.ts";
import { DRAIN_NOTICE_MS } from "../../src/limits.ts";
import { type SignedRequest, signCall } from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { inOneHour, MASTER, mintToken, must, newSigner, random, signed } from "../support/gate.ts";
import { BIN, type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { postern } from "../support/postern.ts";
import { wire } from "../support/raw.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-serve-"));
const storeDirectory = join(directory, "store");
const env = { POSTERN_MASTER_KEY: toHex(MASTER.expose()) };
const file = (name: string): string => join(directory, name);
let node: NodeProcess;

/** `open` for an account of its own, signed by a new key with a token from this store. */
async function openRequest(url: string, store: string): Promise<SignedRequest> {
  const opened = sqliteStore(store);
  const key = activeKey(must(await readKeyring(opened, "demo", MASTER)));
  await opened.close();
  if (key === undefined) throw new Error("no key");
  const signer = newSigner();
  const token = mintToken(key, ["actor = account/1", inOneHour(), `holder = ${signer.publicKey}`]);
  return signed({ url, token, signer, now_ms: () => Date.now(), random }, "account/1", "open", {
    owner: "Ada",
  });
}

const called = (args: readonly string[], stdin = "") => {
  const caller = ["--key", file("key"), "--token", file("token"), "--url", node.url];
  return postern(["call", "account/cli", ...args, ...caller], { stdin });
};
const call = (message: string, args: string, ...more: string[]) => called([message, args, ...more]);

beforeAll(async () => {
  node = await startNodeProcess(storeDirectory);
  const { stdout: holder } = await postern(["keygen", "--out", file("key")]);
  const store = `file:${storeDirectory}`;
  const minted = await postern(
    ["mint", "--store", store, "--actor", "account/cli", "--holder", holder.trim()],
    { env },
  );
  writeFileSync(file("token"), minted.stdout);
});
afterAll(async () => {
  await node.kill();
  rmSync(directory, { recursive: true, force: true });
});

describe("call", () => {
  it("prints the result, or the problem and exits with 1", async () => {
    expect(await call("open", '{"owner":"Ada"}')).toEqual({ code: 0, stdout: '{"balance":0}\n', stderr: "" });
    const refused = await call("open", '{"owner":"Ada"}', "--json");
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      status: 409,
      problem: { code: "out_of_order", enabled: ["balance", "close", "deposit", "withdraw"] },
    });
    expect((await call("deposit", '{"amount":"five"}')).stdout).toContain("422 schema_violation");
  });

  it("sends a batch, which is done whole or not at all", async () => {
    writeFileSync(
      file("batch.json"),
      '[{"message":"deposit","args":{"amount":9}},{"message":"withdraw","args":{"amount":{"$ref":"$0.balance"}}}]',
    );
    const batch = (name: string, ...more: readonly string[]) => called(["--batch", file(name), ...more]);
    expect(await batch("batch.json")).toMatchObject({ code: 0, stdout: '[{"balance":9},{"balance":0}]\n' });
    writeFileSync(
      file("poor.json"),
      '[{"message":"deposit","args":{"amount":9}},{"message":"withdraw","args":{"amount":10}}]',
    );
    expect((await batch("poor.json")).stdout).toContain(
      "handler_error: The handler refused the message, at call 1",
    );
    expect((await call("balance", "{}")).stdout).toBe('{"balance":0}\n');
  });

  it("reads a batch from standard input, and says before it is sent what is wrong with it", async () => {
    const calls = '[{"message":"balance"}]';
    expect(await called(["--batch", "-", "--json"], calls)).toMatchObject({
      code: 0,
      stdout: '{"status":200,"result":[{"balance":0}]}\n',
    });
    const wrong = await called(["--batch", "-"], '[{"message":"deposit","args":{"amount":{"$ref":"$0"}}}]');
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("at call 0, /amount: $0 does not"),
    });
    expect(await called(["--batch", file("nowhere.json")])).toMatchObject({ code: 2 });
    expect(await called(["balance", "--batch", "-"], calls)).toMatchObject({ code: 2 });
    const both = ["call", "account/cli", "--batch", "-", "--key", file("key")];
    expect(await postern(both, { stdin: calls })).toMatchObject({ code: 2 });
  });

  it("asks what may be sent", async () => {
    const { code, stdout } = await called(["--describe"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^account\/cli has begun; the token expires \d{4}-/);
    expect(stdout).toContain("now    deposit({ amount: number }): { balance: number }\n");
    const told = JSON.parse((await called(["--describe", "--json"])).stdout) as { result: object };
    expect(told.result).toMatchObject({ enabled: ["balance", "close", "deposit", "withdraw"] });
    writeFileSync(
      file("less"),
      (await postern(["attenuate", "--token", file("token"), "--protocol", "deposit ; balance"])).stdout,
    );
    const caller = ["--key", file("key"), "--token", file("less"), "--url", node.url];
    const less = await postern(["call", "account/cli", "--describe", ...caller]);
    expect(less.stdout).toContain("later  balance(): { balance: number }\n       waits for caveat ");
    expect(less.stdout).not.toContain("withdraw");
  });

  it("repeats nothing under one idempotency key", async () => {
    const twice = [
      await call("deposit", '{"amount":5}', "--idempotency-key", "k"),
      await call("deposit", '{"amount":5}', "--idempotency-key", "k"),
    ];
    expect(twice.map(({ stdout }) => stdout)).toEqual(['{"balance":5}\n', '{"balance":5}\n']);
  });

  it("tells wrong usage and an absent gate apart", async () => {
    expect(await postern(["call", "account/cli", "open", "--token", file("token")])).toMatchObject({
      code: 2,
    });
    expect(await call("open", "{owner}")).toMatchObject({ code: 2 });
    const nobody = await postern([
      "call",
      "account/cli",
      "balance",
      "--key",
      file("key"),
      "--token",
      file("token"),
      "--url",
      "http://127.0.0.1:9",
    ]);
    expect(nobody).toMatchObject({ code: 3, stdout: "" });
  });
});

describe("serve", () => {
  it("is alive and ready", async () => {
    for (const probe of ["livez", "readyz"]) expect((await fetch(`${node.url}/${probe}`)).status).toBe(200);
  });

  it("goes on when nobody reads its output any more", async () => {
    const unread = await startNodeProcess(join(directory, "unread"));
    unread.child.stdout?.destroy();
    for (let calls = 0; calls < 3; calls++)
      await fetch(`${unread.url}/v1/demo`).then((response) => response.text());
    expect((await fetch(`${unread.url}/livez`)).status).toBe(200);
    await unread.kill();
  });

  it("follows what is published later, without a restart", async () => {
    const policies = file("policies");
    mkdirSync(join(policies, "later"), { recursive: true });
    writeFileSync(join(policies, "later", "tenant.yaml"), "tenant: later\nholder: optional\n");
    const account =
      "actor: account\nhandler: { wasm: account }\nmessages: { open: {} }\nprotocol: open\nbehaviour: open\n";
    writeFileSync(join(policies, "later", "account.yaml"), account);
    const applied = await postern(
      ["apply", policies, "--wasm", "wasm", "--store", `file:${storeDirectory}`],
      { env },
    );
    expect(applied).toMatchObject({ code: 0, stdout: "later: published\n" });
    const status = async (): Promise<unknown> => {
      const response = await fetch(`${node.url}/v1/later/account/1/open`, { method: "POST" });
      return ((await response.json()) as { code: string }).code;
    };
    for (let tries = 0; (await status()) === "no_such_tenant" && tries < 100; tries++) await setTimeout(50);
    expect(await status()).not.toBe("no_such_tenant");
    // The same tenant, published anew: from required holders no token without one gets through.
    const store = sqliteStore(storeDirectory);
    const key = activeKey(must(await readKeyring(store, "later", MASTER)));
    await store.close();
    if (key === undefined) throw new Error("no key");
    const caller = {
      url: node.url,
      token: mintToken(key, ["actor = account/1", inOneHour()], "later"),
      signer: newSigner(),
    };
    const nonsense = async (): Promise<string> => {
      const { url, ...init } = signCall(
        { ...caller, now_ms: () => Date.now(), random },
        { tenant: "later", actor: "account/1", message: "nonsense" },
      );
      return ((await (await fetch(url, init)).json()) as { code: string }).code;
    };
    expect(await nonsense()).toBe("no_such_message");
    writeFileSync(join(policies, "later", "tenant.yaml"), "tenant: later\nholder: required\n");
    await postern(["apply", policies, "--wasm", "wasm", "--store", `file:${storeDirectory}`], { env });
    for (let tries = 0; (await nonsense()) === "no_such_message" && tries < 100; tries++)
      await setTimeout(50);
    expect(await nonsense()).toBe("token_invalid");
  });

  it("drains on SIGTERM: not ready first, calls in flight finish, then it ends with 0", async () => {
    const draining = await startNodeProcess(join(directory, "draining"));
    const exit = draining.end("SIGTERM");
    let unready = 0;
    for (let tries = 0; tries < 100 && unready !== 503; tries++) {
      unready = await fetch(`${draining.url}/readyz`).then(
        (response) => response.status,
        () => -1,
      );
      await setTimeout(10);
    }
    expect(unready).toBe(503);
    // Still in the notice: calls are answered, as traffic is only now being moved away.
    expect((await fetch(`${draining.url}/livez`)).status).toBe(200);
    expect(await exit).toBe(0);
    await expect(fetch(`${draining.url}/livez`)).rejects.toThrow();
  });

  it("shares its store with a second node, and whichever is asked answers, also when one has gone", async () => {
    const first = await startNodeProcess(join(directory, "shared"));
    const second = await startNodeProcess(join(directory, "shared"));
    const { stdout: holder } = await postern(["keygen", "--out", file("shared.key")]);
    const store = `file:${join(directory, "shared")}`;
    const minted = await postern(
      ["mint", "--store", store, "--actor", "account/1", "--holder", holder.trim()],
      { env },
    );
    writeFileSync(file("shared.token"), minted.stdout);
    const say = async (url: string, message: string, args: string) => {
      const { stdout } = await postern([
        "call",
        "account/1",
        message,
        args,
        "--key",
        file("shared.key"),
        "--token",
        file("shared.token"),
        "--url",
        url,
        "--json",
      ]);
      return JSON.parse(stdout) as unknown;
    };
    expect(await say(first.url, "open", '{"owner":"Ada"}')).toEqual({ status: 200, result: { balance: 0 } });
    expect(await say(second.url, "deposit", '{"amount":7}')).toEqual({ status: 200, result: { balance: 7 } });
    expect(await first.end("SIGTERM")).toBe(0);
    expect(await say(second.url, "balance", "{}")).toEqual({ status: 200, result: { balance: 7 } });
    await second.kill();
  });

  it("deposes nobody when it cannot listen", async () => {
    const { port } = new URL(node.url);
    const second = await postern(["serve", "--store", `file:${storeDirectory}`, "--port", port], { env });
    expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining("EADDRINUSE") });
    expect((await call("balance", "{}")).code).toBe(0);
  });

  it("ends at once with a master key that is not the store's", async () => {
    const wrong = { POSTERN_MASTER_KEY: "0".repeat(64) };
    const ended = await postern(["serve", "--store", `file:${storeDirectory}`, "--port", "0"], {
      env: wrong,
    });
    expect(ended).toMatchObject({ code: 3, stderr: expect.stringContaining("master key") });
  });

  it("serves the others where one tenant's policy is damaged in the store", async () => {
    const restarted = await startNodeProcess(join(directory, "restarted"));
    await restarted.kill();
    const beside = sqliteStore(join(directory, "restarted"));
    await beside.put("policy/aaa", new TextEncoder().encode("{"), { ifNoneMatch: "*" });
    await beside.close();
    const again = await startNodeProcess(join(directory, "restarted"));
    const answer = await fetch(`${again.url}/v1/demo/account/1/open`, { method: "POST" });
    expect(await answer.json()).not.toMatchObject({ code: "no_such_tenant" });
    await again.kill();
  });

  it("says why it cannot start", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const store = `file:${join(directory, "other")}`;
    const busy = await postern(["serve", "--store", store, "--port", String(port)]);
    expect(busy).toMatchObject({ code: 2, stderr: expect.stringContaining("EADDRINUSE") });
    taken.close();
    expect(await postern(["serve", "--store", "s4://bucket"])).toMatchObject({ code: 2 });
    expect(await postern(["serve", "--store", store, "--port", "http"])).toMatchObject({ code: 2 });
    expect(await postern(["serve", "--store", store, "--turn-threads", "0"])).toMatchObject({ code: 2 });
    for (const proxy of ["10.0.0.1", "10.0.0.1/8", "proxy.example"])
      expect(await postern(["serve", "--store", store, "--trusted-proxy", proxy])).toMatchObject({ code: 2 });
    expect(await postern(["serve", "--store", store, "--policies", file("nowhere")])).toMatchObject({
      code: 2,
    });
  });
});

describe("apply --check", () => {
  it("reports every problem with file, line and column, and publishes nothing", async () => {
    const policies = file("broken");
    mkdirSync(join(policies, "demo"), { recursive: true });
    writeFileSync(join(policies, "demo", "tenant.yaml"), "tenant: demo\ncolour: blue\n");
    writeFileSync(
      join(policies, "demo", "account.yaml"),
      "actor: account\nhandler: { wasm: account }\nmessages: { open: {} }\nprotocol: open ; (\nbehaviour: open\n",
    );
    const { code, stdout } = await postern(["apply", policies, "--check", "--json"]);
    expect(code).toBe(1);
    const { ok, problems } = JSON.parse(stdout) as {
      ok: boolean;
      problems: { place: string; detail: string }[];
    };
    expect(ok).toBe(false);
    expect(problems.map(({ place }) => place.replace(/^.*\/demo\//, ""))).toEqual([
      "tenant.yaml:2:9",
      "account.yaml:4:19",
    ]);
    expect(await postern(["apply", "policies", "--check"])).toMatchObject({
      code: 0,
      stdout: "demo: no problems\n",
    });
  });

  it("reports a handler that is missing or not admitted", async () => {
    const wasm = file("wasm");
    const missing = await postern(["apply", "policies", "--check", "--wasm", wasm]);
    expect(missing).toMatchObject({ code: 1, stdout: expect.stringContaining("postern handler build") });
    mkdirSync(join(wasm, "account"), { recursive: true });
    writeFileSync(join(wasm, "account", "account.wasm"), "not wasm");
    expect(await postern(["apply", "policies", "--check", "--wasm", wasm])).toMatchObject({ code: 1 });
  });
});

describe("drain", () => {
  it("lets a call finish that began before, even when it ends long after", async () => {
    const draining = await startNodeProcess(join(directory, "in-flight"));
    const gate = { url: draining.url, store: join(directory, "in-flight") };
    const request = wire(await openRequest(gate.url, gate.store));
    const socket = connect(Number(new URL(draining.url).port), "127.0.0.1");
    socket.write(request.subarray(0, -1));
    await setTimeout(200);
    const exit = draining.end("SIGTERM");
    // Past the notice: the node takes nothing new any more.
    await setTimeout(DRAIN_NOTICE_MS + 300);
    socket.write(request.subarray(-1));
    const answer = await Array.fromAsync(socket);
    expect(Buffer.concat(answer).toString()).toMatch(/^HTTP\/1\.1 200/);
    expect(await exit).toBe(0);
  });
});

describe("an older Node", () => {
  it("is told in a sentence which one is needed", async () => {
    const older = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'20.20.2'})";
    const child = spawn(process.execPath, ["--import", older, BIN, "--version"]);
    const [output] = await Promise.all([Array.fromAsync(child.stderr), once(child, "close")]);
    expect(Buffer.concat(output).toString()).toMatch(
      /^postern needs Node 24 or newer; this is Node 20\.20\.2\.\n/,
    );
    expect(child.exitCode).toBe(2);
  });
});

describe("the demo", () => {
  it("stays up with --keep, and the call that it prints works", async () => {
    const child = spawn(process.execPath, [BIN, "demo", "--keep"]);
    let shown = "";
    const line = await new Promise<string>((resolve) => {
      child.stdout.on("data", (chunk: Buffer) => {
        shown += chunk.toString();
        const printed = /npx postern (call .*)\n/.exec(shown)?.[1];
        if (printed !== undefined) resolve(printed);
      });
    });
    const args = line.match(/'[^']*'|\S+/g)?.map((arg) => arg.replaceAll("'", "")) ?? [];
    expect(await postern(args)).toMatchObject({ code: 0, stdout: '{"balance":0}\n' });
    const exited = once(child, "exit");
    child.kill("SIGINT");
    expect(await exited).toEqual([0, null]);
  });

  it("shows every answer as expected", async () => {
    const { code, stdout } = await postern(["demo"]);
    expect({ code, last: stdout.trim().split("\n").at(-1) }).toEqual({
      code: 0,
      last: "Every answer was as expected.",
    });
    for (const refusal of [
      "out_of_order",
      "caveat_denied",
      "token_invalid",
      "token_expired",
      "replayed",
      "schema_violation",
    ])
      expect(stdout).toContain(refusal);
    expect(stdout).not.toContain("\u001b[");
  });
});
