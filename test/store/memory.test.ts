import { memoryStore } from "../../src/store/memory.ts";
import { storeContract } from "./conformance.ts";

storeContract("memory", async () => {
  const store = memoryStore();
  return { store, dispose: () => store.close() };
});
