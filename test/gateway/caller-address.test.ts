/** Two nodes on one store: a call that is passed on is judged by where its caller was, as the first node saw it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HOPS_HEADER, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import { CLIENT_HEADER, Vouching } from "../../src/cluster/vouching.ts";
import { parseAddress, parseRange } from "../../src/ip.ts";
import { type Caller, send, signCall } from "../../src/sdk/client.ts";
import { Secret } from "../../src/secret.ts";
import { type Server, startServer } from "../../src/server.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { codeOf, inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";
import { publishTenant } from "../support/tenant.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-passed-on-"));
const ACTORS = Array.from({ length: 16 }, (_, i) => `thing/${i}`);
/** The first trusts what proxies on this machine say, the second nobody. */
let nodes: readonly [proxied: Server, bare: Server];
/** Of the first. */
const lines: string[] = [];
let key: RootKey | undefined;

beforeAll(async () => {
  const store = sqliteStore(directory);
  await publishTenant(store, "first");
  key = activeKey(must(await readKeyring(store, "first", MASTER)));
  await store.close();
  const start = async (proxies: string[], write: (line: string) => void) =>
    must(
      await startServer({
        store: sqliteStore(directory),
        master: MASTER,
        host: "127.0.0.1",
        port: 0,
        authorities: [],
        trustedProxies: proxies.flatMap((text) => parseRange(text) ?? []),
        write,
      }),
    );
  nodes = [await start(["127.0.0.0/8"], (line) => lines.push(line)), await start([], () => {})];
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop(0)));
  rmSync(directory, { recursive: true, force: true });
});

async function ask(
  node: Server,
  range: string,
  actor: string,
  headers: Record<string, string>,
): Promise<string> {
  if (key === undefined) throw new Error("no key");
  const signer = newSigner();
  const token = mintToken(key, ["actor = thing/*", inOneHour(), `client_ip in ${range}`], "first");
  const caller: Caller = { url: node.url, token, signer, now_ms: () => Date.now(), random };
  const request = signCall(caller, { tenant: "first", actor, message: "go" });
  return codeOf(await send({ ...request, headers: { ...request.headers, ...headers } }, fetch));
}

const passedOn = (): number => lines.filter((line) => line.includes('"hop":"sent"')).length;

it("through the node that sees the caller, and not past it", async () => {
  const [proxied, bare] = nodes;
  const [caller, elsewhere] = ["203.0.113.0/24", { "x-forwarded-for": "203.0.113.9" }];
  // Shards move to the second node after a while; until then nothing is passed on.
  for (let tries = 0; passedOn() < 3 && tries < 100; tries++) {
    const codes = new Set<string>();
    for (const actor of ACTORS) codes.add(await ask(proxied, caller, actor, elsewhere));
    expect([...codes]).toEqual(["200"]);
    if (passedOn() < 3) await setTimeout(100);
  }
  expect(passedOn()).toBeGreaterThanOrEqual(3);
  for (const actor of ACTORS) {
    expect(await ask(bare, caller, actor, elsewhere)).toBe("caveat_denied");
    expect(await ask(bare, "127.0.0.0/8", actor, elsewhere)).toBe("200");
    expect(await ask(proxied, "127.0.0.0/8", actor, elsewhere)).toBe("caveat_denied");
  }
});

it("what says that it comes from another node is believed only under the store's key, on its own request", async () => {
  const address = parseAddress("203.0.113.9") ?? new Uint8Array();
  const forged = new Vouching(new Secret(new Uint8Array(32).fill(8)));
  const hops = { [HOPS_HEADER]: "1", [REMAINING_HEADER]: "5000" };
  for (const claim of [
    {},
    { [CLIENT_HEADER]: "203.0.113.9" },
    { [CLIENT_HEADER]: forged.write(address, "sig=:AAAA:") },
    // Of another request.
    { [CLIENT_HEADER]: new Vouching(MASTER).write(address, "sig=:AAAA:") },
  ])
    for (const node of nodes)
      for (const actor of ACTORS.slice(0, 3))
        expect(await ask(node, "0.0.0.0/0", actor, { ...hops, ...claim })).toBe("caveat_denied");
});
