/** A node on S3 as a process: calls through the command line, kill -9, fencing; and what a wrong `--store` is told. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/bytes.ts";
import type { Survey } from "../../src/cluster/survey.ts";
import { SHARDS_DEFAULT } from "../../src/limits.ts";
import { must } from "../support/gate.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { postern, type Ran } from "../support/postern.ts";
import { describeOnRgw, type Rgw, startRgw } from "../support/rgw.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-s3-"));
const file = (name: string): string => join(directory, name);
const POSTERN_MASTER_KEY = "07".repeat(32);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("--store s3://…", () => {
  const credentials = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "hidden" };
  // Nobody listens on port 2, and fetch does not refuse to ask it, as it does with 9.
  const nowhere = "s3://bucket?endpoint=http://127.0.0.1:2";
  const cleared = {
    AWS_SESSION_TOKEN: "",
    AWS_REGION: "",
    AWS_ENDPOINT_URL_S3: "",
    AWS_ENDPOINT_URL_STS: "",
    AWS_WEB_IDENTITY_TOKEN_FILE: "",
    AWS_ROLE_ARN: "",
  };
  const mint = (store: string, env: Record<string, string>): Promise<Ran> =>
    postern(["mint", "--actor", "account/1", "--store", store], { env: { ...cleared, ...env } });

  it.each([
    ["no credentials", nowhere, { POSTERN_MASTER_KEY }, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
    [
      "half of a web identity",
      nowhere,
      { POSTERN_MASTER_KEY, AWS_WEB_IDENTITY_TOKEN_FILE: "/hidden" },
      "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    ],
    [
      "a web identity for who knows where",
      nowhere,
      { POSTERN_MASTER_KEY, AWS_WEB_IDENTITY_TOKEN_FILE: "/hidden", AWS_ROLE_ARN: "arn:x" },
      "AWS_ENDPOINT_URL_STS is needed",
    ],
    ["half of them", nowhere, { POSTERN_MASTER_KEY, AWS_ACCESS_KEY_ID: "id" }, "AWS_SECRET_ACCESS_KEY"],
    [
      "a broken one",
      nowhere,
      { ...credentials, POSTERN_MASTER_KEY, AWS_SECRET_ACCESS_KEY: "hidden\nhidden" },
      "AWS_SECRET_ACCESS_KEY must be",
    ],
    ["no master key", nowhere, credentials, "POSTERN_MASTER_KEY is needed"],
    [
      "a wrong master key",
      nowhere,
      { ...credentials, POSTERN_MASTER_KEY: "hidden" },
      "POSTERN_MASTER_KEY must be",
    ],
    ["no bucket", "s3:", { ...credentials, POSTERN_MASTER_KEY }, "s3://BUCKET/PREFIX"],
    ["no place", "s3://bucket", { ...credentials, POSTERN_MASTER_KEY }, "AWS_REGION"],
    ["a key in the address", `${nowhere}&secret=hidden`, { ...credentials, POSTERN_MASTER_KEY }, "each once"],
  ] as const)("with %s is wrong usage, and says what is needed", async (_name, store, env, says) => {
    const ran = await mint(store, { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "", ...env });
    expect(ran).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
    expect(ran.stderr).not.toContain("hidden");
  });

  it("takes static credentials before a web identity, and a web identity where there are none", async () => {
    const identity = {
      AWS_WEB_IDENTITY_TOKEN_FILE: file("no-token"),
      AWS_ROLE_ARN: "arn:x",
      AWS_ENDPOINT_URL_STS: "http://127.0.0.1:2",
    };
    const both = await mint(nowhere, { ...credentials, ...identity, POSTERN_MASTER_KEY });
    expect(both).toMatchObject({ code: 3, stderr: expect.stringContaining("ECONNREFUSED") });
    const none = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
    const one = await mint(nowhere, { ...none, ...identity, POSTERN_MASTER_KEY });
    expect(one).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("the token file cannot be read (ENOENT)"),
    });
  });

  it("that does not answer is unavailable, for who reads and who publishes", async () => {
    const env = { ...cleared, ...credentials, POSTERN_MASTER_KEY };
    for (const args of [["mint", "--actor", "account/1"], ["apply"]]) {
      const ran = await postern([...args, "--store", nowhere], { env });
      expect(ran).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("ECONNREFUSED") });
      expect(ran.stderr).not.toContain("hidden");
    }
  });
});

describeOnRgw("a node on Ceph RGW", () => {
  let rgw: Rgw;
  let store: string;
  let env: Record<string, string>;
  beforeAll(async () => {
    rgw = await startRgw();
    env = { ...rgw.env, POSTERN_MASTER_KEY };
    store = rgw.freshUrl();
    const { stdout: holder } = await postern(["keygen", "--out", file("key")]);
    const applied = await postern(["apply", "--store", store], { env });
    expect(applied).toMatchObject({ code: 0, stdout: "demo: published\n" });
    const minted = await postern(
      ["mint", "--store", store, "--actor", "account/s3", "--holder", holder.trim()],
      {
        env,
      },
    );
    writeFileSync(file("token"), minted.stdout);
  });
  afterAll(() => rgw.stop());

  const start = (): Promise<NodeProcess> => startNodeProcess(store, [], env);
  async function call(node: NodeProcess, message: string, args: string, ...more: string[]): Promise<unknown> {
    const credentials = ["--key", file("key"), "--token", file("token"), "--url", node.url];
    const { stdout } = await postern([
      "call",
      "account/s3",
      message,
      args,
      ...credentials,
      "--json",
      ...more,
    ]);
    return JSON.parse(stdout);
  }

  it("loses nothing by kill -9, repeats nothing, and keeps the order", async () => {
    let node = await start();
    expect(await call(node, "open", '{"owner":"Ada"}')).toEqual({ status: 200, result: { balance: 0 } });
    for (let kill = 1; kill <= 3; kill++) {
      const deposit = () => call(node, "deposit", '{"amount":5}', "--idempotency-key", `d${kill}`);
      expect(await deposit()).toEqual({ status: 200, result: { balance: 5 * kill } });
      await node.kill();
      node = await start();
      expect(await deposit()).toEqual({ status: 200, result: { balance: 5 * kill } });
      expect(await call(node, "balance", "{}")).toEqual({ status: 200, result: { balance: 5 * kill } });
    }
    expect(await call(node, "open", '{"owner":"Eve"}')).toMatchObject({ problem: { code: "out_of_order" } });
    expect(await node.end("SIGINT")).toBe(0);
  });

  it("answers beside a second node on the bucket", async () => {
    const [first, second] = [await start(), await start()];
    for (const { url } of [first, second])
      expect(await call({ ...first, url }, "balance", "{}")).toMatchObject({ status: 200 });
    // Whoever may read the bucket may look at the cluster; the master key is not needed.
    const looked = await postern(["cluster", "--store", store, "--json"], {
      env: { ...rgw.env, POSTERN_MASTER_KEY: "" },
    });
    const { nodes, shards } = JSON.parse(looked.stdout) as Survey;
    expect(nodes.map(({ url }) => url)).toEqual(expect.arrayContaining([first.url, second.url]));
    expect(shards).toHaveLength(SHARDS_DEFAULT);
    expect(await first.end("SIGTERM")).toBe(0);
    expect(await call(second, "balance", "{}")).toMatchObject({ status: 200 });
    await second.kill();
  });

  it("keeps no credential and no root key in the bucket", async () => {
    const bucket = rgw.open(store);
    const keys = must(await bucket.list(""));
    expect(keys.some((key) => key.startsWith("probe/"))).toBe(false);
    expect(keys.some((key) => key.startsWith("log/000/"))).toBe(true);
    for (const key of keys) {
      const body = Buffer.from(must(await bucket.get(key))?.body ?? []);
      for (const secret of [rgw.env["AWS_SECRET_ACCESS_KEY"] ?? "", POSTERN_MASTER_KEY])
        expect(body.includes(secret), key).toBe(false);
      expect(body.includes(Buffer.from(POSTERN_MASTER_KEY, "hex")), key).toBe(false);
    }
    await bucket.close();
  });

  it("says why the bucket refuses it, in the bucket's own code", async () => {
    const wrong = { ...env, AWS_SECRET_ACCESS_KEY: `not-it-${toHex(new Uint8Array(4))}` };
    const ran = await postern(["serve", "--store", store, "--port", "0"], { env: wrong });
    expect(ran).toMatchObject({
      code: 3,
      stdout: "",
      stderr: expect.stringContaining("403 SignatureDoesNotMatch"),
    });
    const absent = await postern(["apply", "--store", "s3://no-such-bucket"], { env });
    expect(absent).toMatchObject({ code: 3, stderr: expect.stringContaining("404 NoSuchBucket") });
  });
});
