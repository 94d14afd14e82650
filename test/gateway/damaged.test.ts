/** What a node does with a history that it cannot read: one shard stops, and everybody is told why; the rest is served. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { logKey } from "../../src/cluster/format.ts";
import { shardOf } from "../../src/cluster/pages.ts";
import { SHARDS_DEFAULT } from "../../src/limits.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { call, codeOf, party, startGate } from "../support/gate.ts";
import { takenShard } from "../support/taken-shard.ts";

it("an entry of another version stops its shard, by the name of its object, and no other", async () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-damaged-"));
  const before = await startGate(directory);
  await before.server.stop(0);
  const store = sqliteStore(directory);
  const log = await takenShard(store, "account/damaged");
  expect(await log.append('{"v":9}')).toBeUndefined();
  const damaged = logKey(shardOf("demo/account/damaged", SHARDS_DEFAULT), log.seq);
  await store.close();

  const gate = await startGate(directory);
  onTestFinished(() => gate.end());
  const refused = await call(party(gate, "account/damaged"), "account/damaged", "open", { owner: "Ada" });
  const detail = `the object ${damaged} cannot be used: a log entry has version 9; this version reads 3`;
  expect(refused).toMatchObject({ problem: { code: "store_unavailable", detail, damaged } });
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, i) => `account/sound-${i}`).map(async (actor) =>
      codeOf(await call(party(gate, actor), actor, "open", { owner: "Ada" })),
    ),
  );
  expect(new Set(others)).toEqual(new Set(["200"]));
  expect(gate.lines.filter((line) => line.includes("shard_stopped")).join()).toContain(detail);
});
