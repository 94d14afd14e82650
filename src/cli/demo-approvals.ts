/** The approval service of the demo: Rosa, behind a real socket, who takes her time and says yes once. */
import { once } from "node:events";
import { serve } from "@hono/node-server";
import { dischargeService } from "../sdk/discharge.ts";
import type { Environment } from "./command.ts";

export interface DemoApprovals {
  readonly location: string;
  /** What waits for her, as she reads it. */
  readonly waiting: ReadonlySet<string>;
  /** She says yes to what waits under this text, with these caveats. */
  approve(condition: string, caveats: readonly string[]): void;
  stop(): Promise<void>;
}

const STARTING = new Response(null, { status: 503 });

/** @param key the secret one, as `postern keygen --alg x25519` writes it */
export async function startDemoApprovals(environment: Environment, key: string): Promise<DemoApprovals> {
  const waiting = new Set<string>();
  const approved = new Map<string, readonly string[]>();
  // Its address is known once it listens, and the service must know it.
  let service: ReturnType<typeof dischargeService> | undefined;
  const server = serve({
    fetch: (request) => service?.fetch(request) ?? STARTING.clone(),
    hostname: "127.0.0.1",
    port: 0,
  });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the approval service has no port");
  const location = `http://127.0.0.1:${address.port}`;
  service = dischargeService({
    key,
    location,
    check(condition) {
      waiting.add(condition);
      return { decision: "wait", id: condition };
    },
    poll(id) {
      const caveats = approved.get(id);
      return caveats === undefined ? { decision: "wait", id } : { decision: "grant", caveats };
    },
    now_ms: () => environment.now_ms(),
    random: (length) => environment.random(length),
  });
  return {
    location,
    waiting,
    approve: (condition, caveats) => {
      waiting.delete(condition);
      approved.set(condition, caveats);
    },
    stop: async () => {
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}
