/**
 * Callers with attenuated tokens for the bench: many accounts, several holder keys, six caveats each.
 *
 * The caveats are those of a token that was minted for an account (actor, expires, holder, protocol) and narrowed
 * offline by its holder (message, an earlier expiry). Tokens for the gate are made with the tenant's own key from
 * its store; those for the naive server by macaroons.js, with the same caveats.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import macaroons from "macaroons.js";
import { fromHex, toBase64url, toHex } from "../src/bytes.ts";
import { isRefusal, type Refusal } from "../src/errors.ts";
import type { Json } from "../src/json.ts";
import type { Caller } from "../src/sdk/client.ts";
import { Secret } from "../src/secret.ts";
import { bip340Signer } from "../src/signature/bip340.ts";
import type { Store } from "../src/store/contract.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { readKeyring } from "../src/tenants.ts";
import { attenuate, mintMacaroon } from "../src/token/chain.ts";
import { encodeToken } from "../src/token/envelope.ts";
import { activeKey } from "../src/token/keyring.ts";
import { formatIdentifier, type Macaroon } from "../src/token/macaroon.ts";

export const TENANT = "demo";
export const PROTOCOL = "open ; (deposit | withdraw | balance)* ; close";
export const DEPOSIT: Json = { amount: 1 };

/** What bench/load.ts needs to call as somebody; plain data, because it goes to another process. */
export interface Identity {
  /** `type/id`. */
  readonly actor: string;
  readonly token: string;
  /** 64 hex digits; made for this run and worthless after it. */
  readonly holderKey: string;
}

const HOLDERS = 16;

/** Throws on a refusal: in the bench it can only be a mistake. */
export function expectDone<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(`${value.code}: ${value.detail}`);
  return value;
}

function noKey(): never {
  throw new Error("the bench's own store has no usable key");
}

const timeIn = (minutes: number): string =>
  `${new Date(Date.now() + minutes * 60_000).toISOString().slice(0, 19)}Z`;

export function caveatsFor(actor: string, holder: string, protocol = PROTOCOL): readonly string[] {
  return [
    `actor = ${actor}`,
    `expires < ${timeIn(60)}`,
    `holder = ${holder}`,
    `protocol = ${protocol}`,
    "message in open,deposit,balance",
    `expires < ${timeIn(30)}`,
  ];
}

export function mintFor(kid: number, secret: Secret, caveats: readonly string[]): Macaroon {
  const identifier = formatIdentifier(TENANT, kid, toBase64url(randomBytes(16)));
  return expectDone(attenuate(mintMacaroon(secret, identifier), caveats));
}

/** One identity for each account. `tokenFor` turns caveats into a token's text. */
export function identities(
  accounts: number,
  tokenFor: (caveats: readonly string[]) => string,
  protocol = PROTOCOL,
): readonly Identity[] {
  const holders = Array.from({ length: HOLDERS }, () => toHex(randomBytes(32)));
  const run = toHex(randomBytes(4));
  return Array.from({ length: accounts }, (_, i) => {
    const holderKey = holders[i % HOLDERS] ?? noKey();
    const actor = `account/bench-${run}-${i}`;
    const publicKey = callerOf({ actor, token: "", holderKey }, "").signer.publicKey;
    return { actor, token: tokenFor(caveatsFor(actor, publicKey, protocol)), holderKey };
  });
}

/** Tokens of the key with which the tenant in this store mints now. @param masterKey 64 hex digits */
export async function posternIdentities(
  store: Store,
  masterKey: string,
  accounts: number,
  protocol = PROTOCOL,
): Promise<readonly Identity[]> {
  const master = new Secret(fromHex(masterKey) ?? noKey());
  const { kid, secret } = activeKey(expectDone(await readKeyring(store, TENANT, master))) ?? noKey();
  return identities(accounts, (caveats) => encodeToken(mintFor(kid, secret, caveats)), protocol);
}

/** Of a gateway's embedded store. */
export function masterKeyOf(folder: string): Secret {
  return new Secret(fromHex(readFileSync(join(folder, "master.key"), "utf8").trim()) ?? noKey());
}

/** The same for a gateway's embedded store. */
export async function embeddedIdentities(folder: string, accounts: number): Promise<readonly Identity[]> {
  const store = sqliteStore(folder);
  try {
    const masterKey = readFileSync(join(folder, "master.key"), "utf8").trim();
    return await posternIdentities(store, masterKey, accounts);
  } finally {
    await store.close();
  }
}

/** The same for the naive server: version 1 packets, as macaroons.js writes them. */
export function naiveIdentities(secret: string, accounts: number): readonly Identity[] {
  return identities(accounts, (caveats) => {
    const nonce = formatIdentifier(TENANT, 1, toBase64url(randomBytes(16)));
    const builder = new macaroons.MacaroonsBuilder("postern", secret, nonce);
    for (const caveat of caveats) builder.add_first_party_caveat(caveat);
    return builder.getMacaroon().serialize();
  });
}

export function callerOf({ token, holderKey }: Identity, url: string): Caller {
  const key = new Secret(fromHex(holderKey) ?? noKey());
  const signer = bip340Signer(key, () => randomBytes(32));
  return { url, token, signer, now_ms: () => Date.now(), random: (length) => randomBytes(length) };
}
