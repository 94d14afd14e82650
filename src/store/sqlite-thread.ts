/**
 * The far side of `threaded.ts`: the embedded store on a thread of its own, answering in the order of asking.
 *
 * What was asked while the disk was being written is performed as one group, so that many writers share one fsync.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { isRefusal } from "../errors.ts";
import { STORE_GROUP_BYTES_MAX, STORE_GROUP_OPERATIONS_MAX } from "../limits.ts";
import { sqliteStore } from "./sqlite.ts";
import type { Message, Request, Response } from "./threaded.ts";

const store = sqliteStore(workerData as string);

parentPort?.on("message", (first: Message) => {
  const requests: Request[] = [];
  let message: Message | undefined = first;
  for (; message !== undefined && message !== "close"; message = nextWaiting()) requests.push(...message);
  while (requests.length > 0) answer(requests.splice(0, sizeOfGroup(requests)));
  if (message === "close") void store.close().then(() => parentPort?.close());
});

function nextWaiting(): Message | undefined {
  const received = parentPort === null ? undefined : receiveMessageOnPort(parentPort);
  return received?.message as Message | undefined;
}

/** How many of the oldest one transaction may hold: at least one, however large. */
function sizeOfGroup(requests: readonly Request[]): number {
  let bytes = 0;
  const full = requests.findIndex(({ operation }, index) => {
    if ("put" in operation) bytes += operation.body.length;
    return index > 0 && (index >= STORE_GROUP_OPERATIONS_MAX || bytes > STORE_GROUP_BYTES_MAX);
  });
  return full < 0 ? requests.length : full;
}

function answer(group: readonly Request[]): void {
  const answers = store.perform(group.map(({ operation }) => operation));
  const responses = group.map(({ id }, index): Response => {
    const value = answers[index];
    // A Refusal does not survive the way between threads as what it is; its reason does.
    return isRefusal(value) ? { id, refused: value.detail } : { id, value };
  });
  parentPort?.postMessage(responses);
}
