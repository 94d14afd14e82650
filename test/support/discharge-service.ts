/** A discharge service on a real socket, in this process. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type ServerType, serve } from "@hono/node-server";
import { Hono } from "hono";
import { type DischargeService, dischargeService } from "../../src/sdk/discharge.ts";
import { Discharges, type DischargesOptions } from "../../src/sdk/discharges.ts";
import { newServiceKey, type ThirdPartyInput } from "../../src/sdk/third-party.ts";
import { random } from "./gate.ts";
import { secret } from "./leaks.ts";

export interface TestService {
  readonly location: string;
  readonly key: { readonly secret: string; readonly publicKey: string };
  /** How many requests came. */
  readonly requests: () => number;
  party(condition: string): ThirdPartyInput;
  /** A client that trusts this service. */
  client(more?: Partial<DischargesOptions>): Discharges;
  end(): Promise<void>;
}

export async function startService(
  decide: Pick<DischargeService, "check" | "poll">,
  now_ms: () => number = () => Date.now(),
): Promise<TestService> {
  const key = newServiceKey((length) => secret("a service's key", random(length)));
  const app = new Hono();
  let requests = 0;
  const server: ServerType = serve({
    fetch: (request) => app.fetch(request),
    port: 0,
    hostname: "127.0.0.1",
  });
  await once(server, "listening");
  const location = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  app.use(async (_, next) => {
    requests++;
    await next();
  });
  app.route("/", dischargeService({ key: key.secret, location, now_ms, random, ...decide }));
  return {
    location,
    key,
    requests: () => requests,
    party: (condition) => ({ location, publicKey: key.publicKey, condition }),
    client: (more = {}) =>
      new Discharges({
        services: [{ location }],
        fetch,
        now_ms,
        random,
        // As long as it says would make the tests slow, and shows nothing more.
        pause: () => setTimeout(5),
        ...more,
      }),
    end: async () => {
      const closed = once(server, "close");
      server.close();
      if ("closeAllConnections" in server) server.closeAllConnections();
      await closed;
    },
  };
}
