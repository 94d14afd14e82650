/** A process of its own: adds 1 to the object `n`, so many times, by compare and set. */
import { isRefusal } from "../../src/errors.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";

const [directory = "", times = "0"] = process.argv.slice(2);
const store = sqliteStore(directory);
for (let done = 0; done < Number(times); ) {
  const found = await store.get("n");
  if (isRefusal(found)) throw new Error(found.detail);
  const sum = found === undefined ? 0 : Number(new TextDecoder().decode(found.body));
  const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
  const put = await store.put("n", new TextEncoder().encode(String(sum + 1)), condition);
  if (put.outcome === "unknown") throw new Error(put.reason);
  if (put.outcome === "done") done++;
}
await store.close();
