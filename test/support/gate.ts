/**
 * A whole node for tests: real socket, real embedded store, real handler, real clock, in this process.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { toBase64url, toHex } from "../../src/bytes.ts";
import { UsageProblem } from "../../src/cli/command.ts";
import { publishAll, readPolicyFolder } from "../../src/cli/policy-folder.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import {
  type Caller,
  type CallInput,
  type CallOutcome,
  type SignedRequest,
  send,
  signCall,
} from "../../src/sdk/client.ts";
import { Secret } from "../../src/secret.ts";
import type { ServerOptions } from "../../src/server/options.ts";
import { type Server, startServer } from "../../src/server.ts";
import { bip340Signer } from "../../src/signature/bip340.ts";
import type { Signer } from "../../src/signature/scheme.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { formatIdentifier } from "../../src/token/macaroon.ts";
import { collect, secret, secretTokens } from "./leaks.ts";

export const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(length));
export const MASTER = new Secret(secret("the master key", new Uint8Array(32).fill(7)));
export const ACCOUNT_PROTOCOL = "open ; (deposit | withdraw | balance)* ; close";

export interface TestGate {
  readonly server: Server;
  readonly directory: string;
  readonly key: RootKey;
  /** Every line that the node has written. */
  readonly lines: readonly string[];
  /** Stops the node and removes its store. */
  end(): Promise<void>;
}

export async function startGate(
  directory = mkdtempSync(join(tmpdir(), "postern-test-")),
  policies = "policies",
  more: Partial<ServerOptions> = {},
): Promise<TestGate> {
  const store = sqliteStore(directory);
  const folder = await readPolicyFolder(policies, "wasm", admit);
  if (folder instanceof UsageProblem || !folder.ok) throw new Error(JSON.stringify(folder));
  must(await publishAll(folder.tenants, { store, master: MASTER, url: "" }, random));
  const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
  if (key === undefined) throw new Error("no key");
  secret("a root key", key.secret.expose());
  const lines: string[] = [];
  const write = (line: string): void => {
    collect("a node", line);
    lines.push(line);
  };
  const options = { store, master: MASTER, host: "127.0.0.1", port: 0, authorities: [] };
  const server = must(await startServer({ ...options, write, ...more }));
  return {
    server,
    directory,
    key,
    lines,
    end: async () => {
      await server.stop(0);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The value, where it is no refusal. */
export function must<T>(value: T): Exclude<T, Refusal> {
  if (isRefusal(value)) throw new Error(`${value.code}: ${value.detail}`);
  return value as Exclude<T, Refusal>;
}

export function newSigner(): Signer {
  return bip340Signer(new Secret(secret("a holder's key", random(32))), () => random(32));
}

/** A token straight from the tenant's key, with the caveats given and no others. */
export function mintToken(key: RootKey, caveats: readonly string[], tenant = "demo"): string {
  const identifier = formatIdentifier(tenant, key.kid, toBase64url(random(16)));
  return secretTokens(encodeToken(must(attenuate(mintMacaroon(key.secret, identifier), caveats))));
}

export function narrow(token: string, ...caveats: readonly string[]): string {
  return secretTokens(encodeToken(must(attenuate(must(decodeToken(token)), caveats))));
}

export const inOneHour = (): string =>
  formatCaveat("expires", `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z`);

/** A caller with a key and the token that `postern mint` would give for this actor. */
export function party(gate: TestGate, actor: string, ...more: readonly string[]): Caller {
  const signer = newSigner();
  const caveats = [
    formatCaveat("actor", actor),
    inOneHour(),
    formatCaveat("holder", signer.publicKey),
    formatCaveat("protocol", ACCOUNT_PROTOCOL),
  ];
  return {
    url: gate.server.url,
    token: mintToken(gate.key, [...caveats, ...more]),
    signer,
    now_ms: () => Date.now(),
    random,
  };
}

let accounts = 0;
/** An account that no other test has touched. */
export const freshAccount = (): string => `account/test-${++accounts}-${toHex(random(4))}`;

export function signed(
  caller: Caller,
  actor: string,
  message: string,
  args: Json = {},
  more: Partial<CallInput> = {},
): SignedRequest {
  return signCall(caller, { tenant: "demo", actor, message, args, ...more });
}

export function call(
  caller: Caller,
  actor: string,
  message: string,
  args: Json = {},
  more: Partial<CallInput> = {},
): Promise<CallOutcome> {
  return send(signed(caller, actor, message, args, more), fetch);
}

/** The code of a refusal, or `200`. */
export function codeOf(outcome: CallOutcome): string {
  if ("problem" in outcome) collect("a refusal", JSON.stringify(outcome.problem));
  return "problem" in outcome ? outcome.problem.code : String(outcome.status);
}
