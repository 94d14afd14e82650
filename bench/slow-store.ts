/** A store that is further away than it is: each request takes so much longer, half of it before it is done. */
import { setTimeout } from "node:timers/promises";
import type { Store } from "../src/store/contract.ts";

export interface SlowStore extends Store {
  /** How many puts it was sent so far. */
  readonly puts: number;
}

export function slowStore(inner: Store, latency_ms: number): SlowStore {
  let puts = 0;
  const pass = async <T>(request: () => Promise<T>): Promise<T> => {
    if (latency_ms === 0) return request();
    await setTimeout(latency_ms / 2);
    const answer = await request();
    await setTimeout(latency_ms / 2);
    return answer;
  };
  return {
    get puts() {
      return puts;
    },
    get: (key) => pass(() => inner.get(key)),
    put: (key, body, condition) => {
      puts++;
      return pass(() => inner.put(key, body, condition));
    },
    delete: (key) => pass(() => inner.delete(key)),
    list: (prefix) => pass(() => inner.list(prefix)),
    close: () => inner.close(),
  };
}
