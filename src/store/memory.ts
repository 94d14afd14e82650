/** The store in memory: for tests and simulations, with the same contract as the durable ones. */
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";

export function memoryStore(): Store {
  const objects = new Map<string, StoredObject>();
  let version = 0;

  const matches = (key: string, condition: PutCondition): boolean => {
    const etag = objects.get(key)?.etag;
    return "ifMatch" in condition ? etag === condition.ifMatch : etag === undefined;
  };

  return {
    get: async (key) => {
      const found = objects.get(key);
      return found && { body: found.body.slice(), etag: found.etag };
    },
    put: async (key, body, condition): Promise<PutOutcome> => {
      if (!matches(key, condition)) return { outcome: "conflict" };
      const etag = String(++version);
      objects.set(key, { body: new Uint8Array(body), etag });
      return { outcome: "done", etag };
    },
    delete: async (key) => {
      objects.delete(key);
      return "done";
    },
    list: async (prefix) => [...objects.keys()].filter((key) => key.startsWith(prefix)),
    close: async () => {},
  };
}
