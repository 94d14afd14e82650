/**
 * The far side of `threaded.ts`: the embedded store on a thread of its own, answering its messages in order.
 */
import { parentPort, workerData } from "node:worker_threads";
import { isRefusal } from "../errors.ts";
import { sqliteStore } from "./sqlite.ts";
import type { Request, Response } from "./threaded.ts";

const store = sqliteStore(workerData as string);

parentPort?.on("message", (request: Request) => void answer(request));

async function answer({ id, operation, parameters }: Request): Promise<void> {
  // The near side is typed as a Store: what it asks for is one of the methods, with that method's parameters.
  const method = store[operation] as (...values: unknown[]) => Promise<unknown>;
  const value = await method.apply(store, [...parameters]);
  // A Refusal does not survive the way between threads as what it is; its reason does.
  const response: Response = isRefusal(value) ? { id, refused: value.detail } : { id, value };
  parentPort?.postMessage(response);
  if (operation === "close") parentPort?.close();
}
