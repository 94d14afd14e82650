/** `postern revoke` and `postern rotate` beside a real node: what the operator types is what callers meet. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/bytes.ts";
import { type Command, EXIT, exitCodeOf, UsageProblem } from "../../src/cli/command.ts";
import { revoke } from "../../src/cli/revoke.ts";
import { rotate } from "../../src/cli/rotate.ts";
import { isRefusal } from "../../src/errors.ts";
import { send, signCall } from "../../src/sdk/client.ts";
import type { Store } from "../../src/store/contract.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { checkStore } from "../../src/store-check.ts";
import { readKeyring } from "../../src/tenants.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { parseIdentifier } from "../../src/token/macaroon.ts";
import { listRevocations } from "../../src/token/revocation-feed.ts";
import { testEnvironment } from "../support/environment.ts";
import { codeOf, inOneHour, MASTER, mintToken, must, narrow, newSigner, random } from "../support/gate.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { postern, type Ran } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-revoke-"));
const file = (name: string): string => join(directory, name);
const url = `file:${file("store")}`;
const env = { POSTERN_MASTER_KEY: toHex(MASTER.expose()) };
const signer = newSigner();
let node: NodeProcess;
let store: Store;

beforeAll(async () => {
  node = await startNodeProcess(file("store"));
  store = sqliteStore(file("store"));
});
afterAll(async () => {
  await store.close();
  await node.kill();
  rmSync(directory, { recursive: true, force: true });
});

const run = (command: string, ...args: readonly string[]): Promise<Ran> =>
  postern([command, "--store", url, ...args], { env });

async function json(command: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await run(command, ...args, "--json");
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** The exit code that a command's outcome means; in this process, because starting one takes longer than refusing. */
async function exitOf(command: Command, args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: ["--store", url, ...args], options: command.options });
  const outcome = await command.run(testEnvironment({ env }), values, []);
  if (outcome instanceof UsageProblem) return EXIT.usage;
  return isRefusal(outcome) ? exitCodeOf(outcome) : EXIT.done;
}

/** The path of a file that holds the token. */
function inFile(token: string): string {
  const path = file(toHex(random(8)));
  writeFileSync(path, `${token}\n`);
  return path;
}

async function mint(): Promise<string> {
  const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
  if (key === undefined) throw new Error("no key");
  return mintToken(key, ["actor = account/1", inOneHour(), `holder = ${signer.publicKey}`]);
}

async function answerTo(token: string): Promise<string> {
  const caller = { url: node.url, token, signer, now_ms: () => Date.now(), random };
  return codeOf(
    await send(signCall(caller, { tenant: "demo", actor: "account/1", message: "nonsense" }), fetch),
  );
}
/** A message that no actor type has is as far as a token gets that is not refused. */
const PASSES = "no_such_message";

/** What the node says at last: this, unless that takes much longer than it may. */
async function inTime(code: string, token: string): Promise<string> {
  for (let tries = 0; (await answerTo(token)) !== code && tries < 400; tries++) await setTimeout(50);
  return answerTo(token);
}

const listed = async () => must(await listRevocations(store, "demo", { page: 0, index: 0 }, 1000)).entries;

describe("revoke", () => {
  it("takes back a token as attenuated and what descends from it, and then the token as minted", async () => {
    const root = await mint();
    const below = narrow(root, "message in a,nonsense");
    const furtherBelow = narrow(below, "message in nonsense");
    const { nonce } = parseIdentifier(must(decodeToken(root)).identifier) ?? {};
    for (const token of [root, furtherBelow]) expect(await inTime(PASSES, token)).toBe(PASSES);

    const reason = ["--reason", "lost laptop"];
    expect(await json("revoke", "--token", inFile(below), "--subtree", ...reason)).toEqual({
      tenant: "demo",
      kind: "subtree",
      value: expect.stringMatching(/^[0-9a-f]{64}$/),
      until: expect.stringMatching(/Z$/),
      added: true,
    });
    expect(await inTime("token_revoked", below)).toBe("token_revoked");
    expect([await answerTo(furtherBelow), await answerTo(root)]).toEqual(["token_revoked", PASSES]);

    const piped = ["revoke", "--store", url, "--token", "-", "--json"];
    const { stdout } = await postern(piped, { env, stdin: furtherBelow });
    const whole = { tenant: "demo", kind: "token", value: nonce, until: null, added: true };
    expect(JSON.parse(stdout)).toEqual(whole);
    expect(await inTime("token_revoked", root)).toBe("token_revoked");
    expect(await json("revoke", "--token", inFile(root))).toEqual({ ...whole, added: false });
    expect(await answerTo(await mint())).toBe(PASSES);
  });

  it("lists what was revoked, page by page, with the reasons, and shows no token", async () => {
    const token = await mint();
    const { signature } = must(decodeToken(token));
    const ran = [
      await run("revoke", "--holder", "1".repeat(64), "--reason", "\u001b[31mred"),
      await run("revoke", "--token", inFile(token), "--subtree"),
    ];
    const all = await json("revoke", "--list");
    const revocations = all["revocations"] as { cursor: string; kind: string; reason?: string }[];
    expect(revocations.map(({ kind }) => kind)).toEqual((await listed()).map(({ kind }) => kind));
    expect(revocations.length).toBeGreaterThan(3);
    expect(all["next"]).toBeNull();
    const first = await json("revoke", "--list", "--limit", "2");
    expect(first).toEqual({ tenant: "demo", revocations: revocations.slice(0, 2), next: "0.1" });
    const rest = await json("revoke", "--list", "--after", "0.1");
    expect(rest).toEqual({ tenant: "demo", revocations: revocations.slice(2), next: null });
    const { stdout } = await run("revoke", "--list", "--limit", "3");
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^0\.0 {2}\S+Z {2}subtree {2}[0-9a-f]{64} {2}until \S+Z {2}lost laptop$/),
      expect.stringMatching(/^0\.1 {2}\S+Z {2}token {2}\S{22}$/),
      expect.stringMatching(/^0\.2 {2}\S+Z {2}holder {2}1{64} {2}\\x1b\[31mred$/),
      "more: --after 0.2",
      "",
    ]);
    const page = Buffer.from(must(await store.get("revoked/demo/00000000"))?.body ?? []).toString();
    const shown = page + stdout + JSON.stringify([ran, all, first, rest]);
    for (const secret of [token.slice(-30), toHex(signature), Buffer.from(signature).toString("base64url")])
      expect(shown).not.toContain(secret);
  });

  it.each([
    ["nothing", [], 2],
    ["two things at once", ["--kid", "1", "--holder", "1".repeat(64)], 2],
    ["a subtree of nothing", ["--kid", "1", "--subtree"], 2],
    ["a holder that is no key", ["--holder", "Ada"], 2],
    ["a kid that is no number", ["--kid", "one"], 2],
    ["a kid that the ring does not have", ["--kid", "99"], 1],
    ["a tenant that is none", ["--tenant", "nobody"], 1],
    ["a tenant that is not the token's", ["--token", "GOOD", "--tenant", "nobody"], 2],
    ["a token that was changed", ["--token", "CHANGED"], 1],
    ["a reason without an end", ["--kid", "1", "--reason", "x".repeat(201)], 2],
    ["a page of nothing", ["--kid", "1", "--limit", "2"], 2],
    ["a list of one kind", ["--list", "--kid", "1"], 2],
    ["a list after no cursor", ["--list", "--after", "x"], 2],
    ["a list of too many", ["--list", "--limit", "1001"], 2],
  ])("refuses %s, and revokes nothing", async (_, args, code) => {
    const good = must(decodeToken(await mint()));
    const changed = { ...good, unsafeCaveats: good.unsafeCaveats.slice(0, -1) };
    const tokens = new Map([
      ["GOOD", inFile(encodeToken(good))],
      ["CHANGED", inFile(encodeToken(changed))],
    ]);
    const before = await listed();
    const given = args.map((arg) => tokens.get(arg) ?? arg);
    expect(await exitOf(revoke, given)).toBe(code);
    expect(await listed()).toEqual(before);
  });

  it("makes no store where there is none", async () => {
    for (const command of ["revoke", "rotate"]) {
      const ran = await postern([command, "--tenant", "demo", "--store", `file:${file("absent")}`]);
      expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no store") });
    }
  });
});

describe("rotate", () => {
  it("mints with a new key while the old one verifies; retires the old one, and not the active one", async () => {
    const old = await mint();
    const keys = (...states: string[]) => states.map((state, i) => ({ kid: i + 1, state }));
    expect(await json("rotate", "--tenant", "demo")).toEqual({
      tenant: "demo",
      active: 2,
      keys: keys("verify-only", "active"),
    });
    const young = await mint();
    expect(await inTime(PASSES, young)).toBe(PASSES);
    expect(await answerTo(old)).toBe(PASSES);
    expect(await run("rotate", "--retire", "2")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("key 2 is the active one"),
    });
    const retired = { tenant: "demo", active: 2, keys: keys("retired", "active") };
    expect(await json("rotate", "--retire", "1")).toEqual(retired);
    expect(await json("rotate", "--list")).toEqual(retired);
    expect(await inTime("token_invalid", old)).toBe("token_invalid");
    expect(await answerTo(young)).toBe(PASSES);
    expect(must(await checkStore(store, MASTER, () => {})).problems).toEqual([]);
  });

  it.each([
    ["a key that the ring does not have", ["--retire", "99"], 1],
    ["a key that is no number", ["--retire", "zero"], 2],
    ["to retire and only to look", ["--retire", "1", "--list"], 2],
    ["a tenant that is none", ["--tenant", "nobody"], 1],
  ])("refuses %s", async (_, args, code) => {
    const before = must(await readKeyring(store, "demo", MASTER));
    expect(await exitOf(rotate, args)).toBe(code);
    expect(must(await readKeyring(store, "demo", MASTER))).toEqual(before);
  });

  it("says that the master key is another one, as revoke does", async () => {
    const other = { POSTERN_MASTER_KEY: "0".repeat(64) };
    for (const args of [["rotate"], ["revoke", "--kid", "1"]])
      expect(await postern([...args, "--store", url], { env: other })).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("master key"),
      });
  });
});

describe("revoked for good", () => {
  it("are a key of the tenant, a holder, and the tenant", async () => {
    const second = await mint();
    expect(await inTime(PASSES, second)).toBe(PASSES);
    expect((await run("revoke", "--kid", "2")).stdout).toContain("it is the active key");
    expect(await inTime("token_revoked", second)).toBe("token_revoked");
    expect((await run("rotate")).stdout).toBe(
      "1  retired\n2  verify-only\n3  active\nnodes follow within 2 s\n",
    );
    const third = await mint();
    expect(await inTime(PASSES, third)).toBe(PASSES);
    expect((await run("revoke", "--holder", signer.publicKey)).code).toBe(0);
    expect(await inTime("token_revoked", third)).toBe("token_revoked");
    expect(await json("revoke", "--tenant", "demo")).toMatchObject({
      kind: "tenant",
      value: "demo",
      added: true,
    });
    expect((await listed()).slice(-3).map(({ kind }) => kind)).toEqual(["kid", "holder", "tenant"]);
  });
});
