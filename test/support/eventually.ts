/** Waits for what happens by itself, as a send that arrives: asks again until it is so, and fails after a while. */
import { setTimeout } from "node:timers/promises";

const PATIENCE_MS = 20_000;

export async function eventually(isSo: () => Promise<boolean> | boolean): Promise<void> {
  const until_ms = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > until_ms) throw new Error("it did not happen");
    await setTimeout(20);
  }
}
