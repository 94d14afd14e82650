/**
 * What one tenant's hostile turns do to another tenant's calls: the p99 under attack, against the p99 without.
 *
 * The attack is a tenant whose handler never ends by itself: each of its calls burns all the fuel of a turn, and many are
 * sent at once, again and again. Rounds with and without it follow each other.
 */
import { randomBytes } from "node:crypto";
import { fetch } from "undici";
import { toBase64url } from "../src/bytes.ts";
import type { TenantPolicy } from "../src/config.ts";
import { admit } from "../src/dispatch/admission.ts";
import { admitHandlers, publish } from "../src/publish.ts";
import { type Caller, send, signCall } from "../src/sdk/client.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { readKeyring } from "../src/tenants.ts";
import { attenuate, mintMacaroon } from "../src/token/chain.ts";
import { encodeToken } from "../src/token/envelope.ts";
import { activeKey } from "../src/token/keyring.ts";
import { formatIdentifier } from "../src/token/macaroon.ts";
import { guest } from "../test/dispatch/guests.ts";
import { callerOf, embeddedIdentities, expectDone, masterKeyOf } from "./callers.ts";
import { startPostern, temporaryFolder } from "./children.ts";
import { compare, median, type Row, withMore } from "./harness.ts";
import { Load, openedTarget } from "./http.ts";

const ATTACKER = "hostile";
/** Calls of the attack at once; each on an actor of its own, so that none waits for another. */
const ATTACK_CALLS = 16;
const CONNECTIONS = 4;
const ACCOUNTS = 16;
/** Calls of one round: its p99 is that of the third worst. */
const COUNT = 300;

/** What it starts is stopped by whoever measures rows (`stopAll`), also where it throws. */
export async function neighbourP99(seconds: number): Promise<readonly Row[]> {
  const folder = temporaryFolder();
  const server = await startPostern(folder);
  const attackers = await publishAttack(folder, server.url);
  const load = new Load();
  const target = {
    ...(await openedTarget(load, server, await embeddedIdentities(folder, ACCOUNTS))),
    connections: CONNECTIONS,
  };
  for (let i = 0; i < 3; i++) await load.run(target, COUNT);
  const burnt: number[] = [];
  const alone = async () => (await load.run(target, COUNT)).p99_ms;
  const attacked = async () => {
    const attack = new Attack(attackers);
    const started_ms = performance.now();
    const { p99_ms } = await load.run(target, COUNT);
    burnt.push(((await attack.end()) * 1000) / (performance.now() - started_ms));
    return p99_ms;
  };
  const what = `p99 of deposits at ${CONNECTIONS} connections while another tenant has ${ATTACK_CALLS} endless turns under way or waiting, against the p99 without`;
  const spec = { id: "sandbox.neighbour_p99", unit: "ms", better: "lower", what, seconds } as const;
  const row = await compare(spec, attacked, alone);
  const turns = median(burnt);
  return [
    withMore(
      row,
      { attack_turns_per_s: turns },
      `the attack burnt the fuel of ${turns.toFixed(1)} turns a second`,
    ),
  ];
}

/** Calls that never stop coming, until it is ended. */
class Attack {
  readonly #calling: Promise<number>;
  #over = false;

  constructor(callers: readonly { readonly caller: Caller; readonly actor: string }[]) {
    const calls = callers.map(async ({ caller, actor }) => {
      let burnt = 0;
      while (!this.#over) {
        const outcome = await send(signCall(caller, { tenant: ATTACKER, actor, message: "go" }), fetch);
        if ("problem" in outcome && outcome.problem.code === "handler_fuel") burnt++;
      }
      return burnt;
    });
    this.#calling = Promise.all(calls).then((all) => all.reduce((sum, burnt) => sum + burnt, 0));
  }

  /** @returns how many of its turns have used up their fuel */
  end(): Promise<number> {
    this.#over = true;
    return this.#calling;
  }
}

/** Publishes the attacker's tenant into the store that the node at that URL serves, and waits until it does. */
async function publishAttack(
  folder: string,
  url: string,
): Promise<readonly { caller: Caller; actor: string }[]> {
  const handlers = await admitHandlers(
    new Map([["endless", guest("(loop $l (br $l)) (i64.const 0)")]]),
    admit,
  );
  if (!handlers.ok) throw new Error("the handler is not admitted");
  const policy: TenantPolicy = {
    tenant: ATTACKER,
    holder: "required",
    actors: {
      loop: {
        actor: "loop",
        handler: { wasm: "endless" },
        messages: { go: { args: {}, result: {}, reads: false } },
        protocol: "go*",
        behaviour: "go*",
      },
    },
  };
  const store = sqliteStore(folder);
  const master = masterKeyOf(folder);
  expectDone(await publish(store, policy, handlers.modules, master, (length) => randomBytes(length)));
  const key = activeKey(expectDone(await readKeyring(store, ATTACKER, master)));
  await store.close();
  if (key === undefined) throw new Error("the attacker has no key");
  const attackers = Array.from({ length: ATTACK_CALLS }, (_, i) => {
    const actor = `loop/${i}`;
    const holderKey = randomBytes(32).toString("hex");
    const { publicKey } = callerOf({ actor, token: "", holderKey }, url).signer;
    const until = `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z`;
    const caveats = [`actor = ${actor}`, `expires < ${until}`, `holder = ${publicKey}`];
    const identifier = formatIdentifier(ATTACKER, key.kid, toBase64url(randomBytes(16)));
    const token = encodeToken(expectDone(attenuate(mintMacaroon(key.secret, identifier), caveats)));
    return { caller: callerOf({ actor, token, holderKey }, url), actor };
  });
  const [first] = attackers;
  if (first === undefined) throw new Error("nobody attacks");
  for (;;) {
    const outcome = await send(
      signCall(first.caller, { tenant: ATTACKER, actor: first.actor, message: "go" }),
      fetch,
    );
    if ("problem" in outcome && outcome.problem.code === "handler_fuel") return attackers;
  }
}
