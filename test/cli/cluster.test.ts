/** `postern cluster`, as people and scripts see it: two real nodes, a window of any size, a pipe, a store that is away. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cluster } from "../../src/cli/cluster.ts";
import { tableFor, wholeTable } from "../../src/cli/cluster-table.ts";
import type { Environment } from "../../src/cli/command.ts";
import { ensureMeta } from "../../src/cluster/meta.ts";
import type { Survey, SurveyedShard } from "../../src/cluster/survey.ts";
import { isRefusal } from "../../src/errors.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { must } from "../support/gate.ts";
import { BIN, type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { postern } from "../support/postern.ts";

const SHARDS = 6;
const directory = mkdtempSync(join(tmpdir(), "postern-cluster-"));
const store = `file:${join(directory, "nodes")}`;
/** The master key is nobody's business here. */
const env = { POSTERN_MASTER_KEY: "" };
afterAll(() => rmSync(directory, { recursive: true }));

describe("of two nodes", () => {
  const nodes: NodeProcess[] = [];
  beforeAll(async () => {
    for (let i = 0; i < 2; i++)
      nodes.push(
        await startNodeProcess(join(directory, "nodes"), ["--lease", "1s", "--shards", String(SHARDS)]),
      );
    while ((await look()).nodes.some(({ shards }) => shards === 0)) await setTimeout(100);
  });
  afterAll(() => Promise.all(nodes.map((node) => node.kill())));

  async function look(): Promise<Survey> {
    const { stdout } = await postern(["cluster", "--store", store, "--json"], { env });
    return JSON.parse(stdout) as Survey;
  }

  it("tells scripts nodes and shards, without the master key", async () => {
    const found = await look();
    const urls = nodes.map(({ url }) => url).toSorted((a, b) => (a < b ? -1 : 1));
    expect(found.nodes.map(({ url, state }) => [url, state])).toEqual(urls.map((url) => [url, "serving"]));
    expect(found.nodes.reduce((sum, { shards }) => sum + shards, 0)).toBe(SHARDS);
    expect(found.shards).toHaveLength(SHARDS);
    for (const [shard, row] of found.shards.entries()) {
      expect(row).toMatchObject({ shard, state: "led", epoch: expect.any(Number), seq: expect.any(Number) });
      expect(found.nodes.map(({ session }) => session)).toContain(row.owner);
    }
  });

  it("shows people a table, and says in its last line whether all is well", async () => {
    const { code, stdout, stderr } = await postern(["cluster", "--store", store], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^node +session +state +shards +lease age$/);
    for (const { url } of nodes) expect(stdout).toContain(`${url}  `);
    expect(lines.filter((line) => /^\d+ +http:/.test(line))).toHaveLength(SHARDS);
    expect(lines.at(-1)).toMatch(/^2 nodes; 6 of 6 shards are led; the longest lag is \d+, of shard \d$/);
    expect(stdout).not.toContain("\u001b");
  });

  it.each([["SIGINT"], ["SIGTERM"]] as const)(
    "is watched: into a pipe one document a line, until %s",
    async (signal) => {
      const args = [BIN, "cluster", "--store", store, "--watch", "--json"];
      const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
      const lines: string[] = [];
      createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line);
        if (lines.length === 2) child.kill(signal);
      });
      expect(await once(child, "close")).toEqual([0, null]);
      expect(lines).toHaveLength(2);
      for (const line of lines) expect((JSON.parse(line) as Survey).shards).toHaveLength(SHARDS);
    },
  );
});

describe("of a store", () => {
  it("that does not answer is unavailable, watched or not", async () => {
    const credentials = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "hidden", AWS_REGION: "" };
    // Nobody listens on port 2.
    const nowhere = ["cluster", "--store", "s3://bucket?endpoint=http://127.0.0.1:2"];
    for (const more of [[], ["--watch"], ["--json"]]) {
      const { code, stdout, stderr } = await postern([...nowhere, ...more], {
        env: { ...env, ...credentials },
      });
      expect(code).toBe(3);
      expect(stdout + stderr).toContain("store_unavailable");
      expect(stdout + stderr).not.toContain("hidden");
    }
  });

  it("that is not there is a mistake, and none is made", async () => {
    const { code, stderr } = await postern(["cluster", "--store", `file:${join(directory, "none")}`], {
      env,
    });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("there is no store at") });
  });

  it("from which no node has served says so", async () => {
    const fresh = sqliteStore(join(directory, "fresh"));
    await fresh.close();
    const url = `file:${join(directory, "fresh")}`;
    expect(await postern(["cluster", "--store", url], { env })).toEqual({
      code: 0,
      stdout: "no node has served from this store yet\n",
      stderr: "",
    });
    const { stdout } = await postern(["cluster", "--store", url, "--json"], { env });
    expect(JSON.parse(stdout)).toEqual({ nodes: [], shards: [] });
  });
});

describe("in a window", () => {
  const shard = (number: number, more: Partial<SurveyedShard> = {}): SurveyedShard => ({
    shard: number,
    state: "led",
    owner: "s1",
    epoch: 3,
    seq: 120,
    checkpoint: 100,
    lag: 20,
    ...more,
  });
  const found: Survey = {
    nodes: [
      {
        session: "s1",
        state: "serving",
        url: "http://127.0.0.1:8787",
        shards: 64,
        ttl_ms: 10_000,
        renewed_at: "2026-01-01T00:00:00Z",
        lease_age_ms: 1234,
      },
    ],
    shards: Array.from({ length: 64 }, (_, number) => shard(number)),
  };
  /** Numbers of the shards that are shown. */
  const shown = (lines: readonly string[]): number => lines.slice(5).join("\n").match(/http:/g)?.length ?? 0;

  it.each([
    [200, 120, 64],
    [40, 120, 64],
    [40, 60, 33],
    [24, 80, 17],
    [12, 200, 15],
    [5, 80, 0],
    [1, 10, 0],
  ])(
    "of %i rows and %i columns no line is too long, none too many, and %i shards are shown",
    (rows, columns, count) => {
      const lines = tableFor(found, { rows, columns });
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
      expect(lines[0]).toBe(
        "1 node; 64 of 64 shards are led; the longest lag is 20, of shard 0".slice(0, columns),
      );
      expect(shown(lines)).toBe(count);
      if (rows > 6 && count < 64) expect(lines.at(-1)).toContain(`${64 - count} more`);
    },
  );

  it("says of a shard that nobody leads why", () => {
    const odd = [
      shard(0, { state: "free", owner: null, seq: null, lag: null }),
      shard(1, { state: "owned", owner: "gone", seq: null, lag: null }),
      shard(2, { state: "owned", seq: null, lag: null }),
      shard(3, { state: "damaged", owner: null, seq: null, lag: null }),
      shard(4, { state: "owned", owner: "\u001b[2J", seq: null, lag: null }),
    ];
    const text = wholeTable({ ...found, shards: odd });
    for (const name of [
      "nobody",
      "gone (no lease)",
      "http://127.0.0.1:8787 (opens it)",
      "(damaged)",
      "\\x1b[2J",
    ])
      expect(text).toContain(name);
    expect(text).toContain("0 of 5 shards are led");
  });

  /** A terminal, and what `--watch` writes to it in so many looks. */
  async function watched(looks: number, between: (look: number) => Promise<void>): Promise<string[]> {
    const written: string[] = [];
    const stopped = Promise.withResolvers<"SIGINT">();
    let look = 0;
    const environment: Environment = {
      env: {},
      stdin: async () => "",
      write: (text) => written.push(text),
      note: () => {},
      status: () => {},
      colour: false,
      columns: 80,
      rows: 10,
      now_ms: () => 1000 * look,
      pause: async () => {
        look++;
        if (look === looks) stopped.resolve("SIGINT");
        else await between(look);
        await setTimeout(1);
        return false;
      },
      random: () => new Uint8Array(),
      interrupted: () => stopped.promise,
    };
    const outcome = await cluster.run(
      environment,
      { store: `file:${join(directory, "watched")}`, watch: true },
      [],
    );
    if (isRefusal(outcome) || "detail" in outcome) throw new Error(outcome.detail);
    return [...written, outcome.printed ? "" : outcome.text];
  }

  it("is written over, not cleared, and the screen before is there again at the end, with the last look", async () => {
    const watching = sqliteStore(join(directory, "watched"));
    must(await ensureMeta(watching, 3, "n"));
    const [enter, ...rest] = await watched(3, async () => {});
    const [last, leave, ...frames] = rest.toReversed();
    expect(enter).toBe("\u001b[?1049h\u001b[?25l");
    expect(leave).toBe("\u001b[?25h\u001b[?1049l");
    expect(last).toContain("0 nodes; 0 of 3 shards are led");
    expect(frames).toHaveLength(3);
    for (const frame of frames) {
      expect(frame.startsWith("\u001b[H0 nodes; 0 of 3 shards are led\u001b[K\n")).toBe(true);
      expect(frame).not.toContain("\u001b[2J");
      expect(frame.endsWith("\u001b[J")).toBe(true);
      expect(frame.split("\n").length).toBeLessThanOrEqual(10);
    }
    await watching.close();
  });

  it("goes on where the store does not answer for a while, and says how old is what it shows", async () => {
    const watching = sqliteStore(join(directory, "watched"));
    const key = "meta/cluster";
    const whole = must(await watching.get(key));
    const frames = await watched(5, async (look) => {
      if (look === 1)
        await watching.delete(key).then(() => watching.put(key, new Uint8Array(), { ifNoneMatch: "*" }));
      if (look === 3)
        await watching
          .delete(key)
          .then(() => watching.put(key, whole?.body ?? new Uint8Array(), { ifNoneMatch: "*" }));
    });
    await watching.close();
    const told = frames.filter((frame) => frame.includes("shown is what was seen"));
    expect(told).toHaveLength(2);
    expect(told[1]).toContain("shown is what was seen 2 s ago; store_unavailable: the object meta/cluster");
    for (const frame of told) expect(frame).toContain("0 of 3 shards are led");
  });
});
