/** How long a successor needs until it serves, by the length of the log that it finds: entries after the last checkpoint. */
import { sqliteStore } from "../src/store/sqlite.ts";
import { expectDone } from "./callers.ts";
import { removeFolder, temporaryFolder } from "./children.ts";
import { measureAll, median, type Row, withMore } from "./harness.ts";
import { openBenchLog } from "./shard-log.ts";
import { slowStore } from "./slow-store.ts";

const SLOTS = [10, 100, 1000];
const ENTRIES_EACH = 16;
const ENTRY = JSON.stringify({ filler: "x".repeat(600) });
const LATENCIES_MS = [0, 5, 50];

export async function recovery(seconds: number): Promise<readonly Row[]> {
  const folders = await Promise.all(SLOTS.map(writtenLog));
  const further = LATENCIES_MS.slice(1).map((latency_ms) => ({
    latency_ms,
    times_ms: SLOTS.map((): number[] => []),
  }));
  const sides = SLOTS.map((slots, i) => ({
    spec: {
      id: `log.recovery_${slots}`,
      unit: "ms",
      better: "lower",
      what: `until a shard with ${slots} log objects of ${ENTRIES_EACH} entries after its checkpoint is open`,
      seconds,
    } as const,
    measure: async () => {
      for (const { latency_ms, times_ms } of further)
        times_ms[i]?.push(await opening_ms(folders[i] ?? "", latency_ms));
      return opening_ms(folders[i] ?? "", 0);
    },
  }));
  const rows = await measureAll(sides, seconds);
  for (const folder of folders) removeFolder(folder);
  return rows.map((row, i) => {
    const added = further.map(({ latency_ms, times_ms }) => [latency_ms, median(times_ms[i] ?? [])] as const);
    const details = Object.fromEntries(added.map(([latency_ms, ms]) => [`at_${latency_ms}ms_ms`, ms]));
    const note = added.map(([latency_ms, ms]) => `${ms.toFixed(0)} ms with a store ${latency_ms} ms away`);
    return withMore(row, details, note.join(", "));
  });
}

async function writtenLog(slots: number): Promise<string> {
  const folder = temporaryFolder();
  const store = sqliteStore(folder);
  const log = await openBenchLog(store);
  for (let slot = 0; slot < slots; slot++) {
    const settled = await Promise.all(Array.from({ length: ENTRIES_EACH }, () => log.append(ENTRY)));
    for (const refusal of settled) expectDone(refusal);
  }
  await log.idle();
  await store.close();
  return folder;
}

/** Each opening leaves one seal more: nothing against the entries. */
async function opening_ms(folder: string, latency_ms: number): Promise<number> {
  const store = slowStore(sqliteStore(folder), latency_ms);
  const started_ms = performance.now();
  await openBenchLog(store);
  const took_ms = performance.now() - started_ms;
  await store.close();
  return took_ms;
}
