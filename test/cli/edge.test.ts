/** `postern edge` as an operator runs it: what it builds deploys, and who has which key ring. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromHex } from "../../src/bytes.ts";
import { hashOf } from "../../src/publish.ts";
import { Secret } from "../../src/secret.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey, keyringKey, openCopy, verifyingKey } from "../../src/token/keyring.ts";
import { answering, instrumented } from "../dispatch/guests.ts";
import { must } from "../support/gate.ts";
import { json, postern } from "../support/postern.ts";

/** Without handlers, compressed: what a script may weigh on the smallest plan is ten times this. */
const GZIP_BYTES_MAX = 300 * 1024;
const WRANGLER = fileURLToPath(new URL("../../node_modules/.bin/wrangler", import.meta.url));

const root = mkdtempSync(join(tmpdir(), "postern-edge-"));
const at = (...path: string[]): string => join(root, ...path);
const echo = answering('{"reply":1}');

beforeAll(() => {
  for (const tenant of ["acme", "other"]) {
    mkdirSync(at("policies", tenant), { recursive: true });
    writeFileSync(at("policies", tenant, "tenant.yaml"), `tenant: ${tenant}\n`);
  }
  const actor = "messages: { ping: { reads: true } }\nprotocol: ping*\nbehaviour: ping*\n";
  writeFileSync(at("policies/acme/echo.yaml"), `actor: echo\nhandler: { wasm: echo }\nstate: none\n${actor}`);
  writeFileSync(at("policies/other/keeper.yaml"), `actor: keeper\nhandler: { wasm: keeper }\n${actor}`);
  for (const handler of ["echo", "keeper"]) {
    mkdirSync(at("wasm", handler), { recursive: true });
    writeFileSync(
      at("wasm", handler, `${handler}.wasm`),
      handler === "echo" ? echo : answering('{"reply":2}'),
    );
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("edge build", () => {
  const build = (...more: string[]) =>
    json([
      "edge",
      "build",
      "fra",
      "--policies",
      at("policies"),
      "--out",
      at("fra"),
      "--authority",
      "gate.example",
      ...more,
    ]);

  it("writes a worker of bounded size, with the handlers that it can run and no others", async () => {
    const built = await build();
    expect(built).toMatchObject({ tenants: ["acme", "other"], handlers: [hashOf(instrumented(echo))] });
    expect(built["gzip_bytes"]).toBeLessThan(GZIP_BYTES_MAX);
    expect(readdirSync(at("fra")).toSorted()).toEqual(
      [`${hashOf(instrumented(echo))}.wasm`, "worker.js", "wrangler.json"].toSorted(),
    );
    expect(readFileSync(at("fra/worker.js"), "utf8")).not.toMatch(/from ?"node:/);
  });

  it("for some of the tenants, on a bucket in S3", async () => {
    await build(
      "--tenant",
      "other",
      "--store",
      "s3://bucket/p?endpoint=https://s3.example",
      "--client-address",
      "none",
    );
    const configuration = JSON.parse(readFileSync(at("fra/wrangler.json"), "utf8")) as object;
    expect(configuration).toMatchObject({ name: "postern-fra", vars: { POSTERN_TENANTS: "other" } });
    expect(configuration).not.toHaveProperty("r2_buckets");
    expect(configuration).not.toHaveProperty("vars.POSTERN_CLIENT_ADDRESS");
  });

  it("is what wrangler deploys", async () => {
    await build("--loader");
    const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: at("logs"), CI: "true" };
    const { stdout, stderr } = await promisify(execFile)(WRANGLER, ["deploy", "--dry-run"], {
      cwd: at("fra"),
      env,
    });
    expect(stdout).toContain("--dry-run: exiting now");
    for (const bound of [
      "env.STORE (postern)",
      "env.LOADER",
      'env.POSTERN_TENANTS ("acme,other")',
      `${hashOf(instrumented(echo))}.wasm`,
    ])
      expect(stdout).toContain(bound);
    expect(`${stdout}${stderr}`).not.toMatch(/warning/i);
  });

  it("asks for what it cannot know, and for tenants that are there", async () => {
    for (const args of [
      ["fra"],
      ["Fra", "--authority", "gate.example"],
      ["fra", "--authority", "https://gate.example/"],
    ])
      expect(
        (await postern(["edge", "build", ...args, "--policies", at("policies"), "--out", at("none")])).code,
      ).toBe(2);
    const { code, stderr } = await postern([
      "edge",
      "build",
      "fra",
      "--authority",
      "gate.example",
      "--policies",
      at("policies"),
      "--tenant",
      "nobody",
    ]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("no tenant nobody")]);
  });
});

describe("edge admit, list, remove, revoke", () => {
  const store = ["--store", `file:${at("store")}`];
  const key = at("fra.key");
  const tenants = {
    tenants: [
      { tenant: "acme", edges: ["fra"] },
      { tenant: "other", edges: ["fra"] },
    ],
  };

  async function opened(tenant: string) {
    const opener = sqliteStore(at("store"));
    const master = new Secret(
      fromHex(readFileSync(at("store/master.key"), "utf8").trim()) ?? new Uint8Array(),
    );
    const ring = must(await readKeyring(opener, tenant, master));
    const found = must(await opener.get(keyringKey(tenant)));
    const secret = new Secret(fromHex(readFileSync(key, "utf8").trim()) ?? new Uint8Array());
    const copy = openCopy(found?.body ?? new Uint8Array(), tenant, { name: "fra", key: secret });
    await opener.close();
    return { ring, copy };
  }

  it("an edge node gets the rings of its tenants, under a key that only its file has", async () => {
    expect((await postern(["apply", at("policies"), ...store])).code).toBe(0);
    expect(await json(["edge", "list", ...store])).toEqual({
      tenants: [
        { tenant: "acme", edges: [] },
        { tenant: "other", edges: [] },
      ],
    });
    const { code, stdout } = await postern(["edge", "admit", "fra", "--key-file", key, ...store]);
    expect([code, stdout]).toEqual([0, `edge node fra has the keys of acme, other; its own is in ${key}\n`]);
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(await json(["edge", "list", ...store])).toEqual(tenants);
    const { ring, copy } = await opened("acme");
    expect(copy).toHaveLength(ring.length);
  });

  it("again under the key that its file holds; and what is rotated, it gets, too", async () => {
    const before = readFileSync(key, "utf8");
    await json(["edge", "admit", "fra", "--key-file", key, "--tenant", "acme", ...store]);
    expect(readFileSync(key, "utf8")).toBe(before);
    await json(["rotate", "--tenant", "acme", ...store]);
    const { copy } = await opened("acme");
    expect(copy === undefined || copy === "withdrawn" ? copy : activeKey(copy)?.kid).toBe(2);
  });

  it("one that may have leaked is cut off with all that it could have signed", async () => {
    expect(await json(["edge", "revoke", "fra", "--tenant", "acme", ...store])).toEqual({
      edge: "fra",
      tenants: [{ tenant: "acme", active: 3 }],
    });
    const { ring, copy } = await opened("acme");
    expect(copy).toBe("withdrawn");
    expect([1, 2, 3].map((kid) => verifyingKey(ring, kid)?.kid)).toEqual([undefined, undefined, 3]);
  });

  it("one that is no longer needed only loses its rings", async () => {
    expect(await json(["edge", "remove", "fra", ...store])).toEqual({
      edge: "fra",
      tenants: [{ tenant: "other", active: 1 }],
    });
    const { code, stdout } = await postern(["edge", "remove", "fra", ...store]);
    expect([code, stdout]).toEqual([1, "no tenant has an edge node fra\n"]);
  });

  it("a file that holds something else is not taken for its key", async () => {
    writeFileSync(at("bad.key"), "hello\n");
    const { code, stderr } = await postern(["edge", "admit", "fra", "--key-file", at("bad.key"), ...store]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("64 hex digits")]);
    expect((await postern(["edge", "admit", "fra", ...store])).code).toBe(2);
    expect((await postern(["edge", "destroy", "fra", ...store])).code).toBe(2);
  });
});
