/** Where a chaos run plays: nodes on Ceph's RGW, each behind its port of the fault proxy, or on the embedded store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Store } from "../../src/store/contract.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { type FaultGate, startFaultProxy } from "../support/fault-proxy.ts";
import { startRgw } from "../support/rgw.ts";

export const PLACES = ["s3", "file:"] as const;
export type PlaceName = (typeof PLACES)[number];

export interface Place {
  /** For `postern serve`. */
  readonly store: string;
  readonly open: () => Store;
  /** What each node needs to find it, and its way there, where that can fail. */
  readonly ways: readonly {
    readonly env: Readonly<Record<string, string>>;
    readonly gate: FaultGate | undefined;
  }[];
  end(): Promise<void>;
}

export function startPlace(name: PlaceName, nodes: number): Promise<Place> {
  return name === "s3" ? onRgw(nodes) : onDisk(nodes);
}

async function onRgw(nodes: number): Promise<Place> {
  const rgw = await startRgw();
  const proxy = await startFaultProxy(rgw.env["AWS_ENDPOINT_URL_S3"] ?? "", nodes);
  const store = rgw.freshUrl();
  return {
    store,
    open: () => rgw.open(store),
    ways: proxy.gates.map((gate) => ({ env: { ...rgw.env, AWS_ENDPOINT_URL_S3: gate.url }, gate })),
    end: async () => {
      await proxy.end();
      await rgw.stop();
    },
  };
}

async function onDisk(nodes: number): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), "postern-chaos-store-"));
  return {
    store: directory,
    open: () => sqliteStore(directory),
    ways: Array.from({ length: nodes }, () => ({ env: {}, gate: undefined })),
    end: async () => rmSync(directory, { recursive: true, force: true }),
  };
}
