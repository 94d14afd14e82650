/**
 * A tenant's root keys, sealed at rest.
 *
 * The ring holds one active key, which mints, and older ones that only verify. In the store it is
 * XChaCha20-Poly1305 under the nodes' master key, bound to its tenant, so that a copied or swapped object opens
 * nowhere else. An edge node has no master key: beside the ring stands a copy of it for each edge node of the tenant,
 * sealed under that node's own key and bound to its name.
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concat, fromBase64url, fromHex, fromUtf8, toBase64url, toHex, utf8 } from "../bytes.ts";
import { decodeDocument, encodeDocument } from "../checked.ts";
import { type Refusal, refuse } from "../errors.ts";
import { KEYRING_KEYS_MAX } from "../limits.ts";
import { Secret } from "../secret.ts";

export type KeyState = "active" | "verify-only" | "retired";

export interface RootKey {
  readonly kid: number;
  readonly state: KeyState;
  readonly secret: Secret;
}

export type Keyring = readonly RootKey[];

const NONCE_BYTES = 24;
export const ROOT_SECRET_BYTES = 32;
export const MASTER_KEY_BYTES = 32;

export function keyringKey(tenant: string): string {
  return `keys/${tenant}`;
}

/** A ring with its first key. `random` gives that many unpredictable bytes. */
export function createKeyring(random: (length: number) => Uint8Array): Keyring {
  return [{ kid: 1, state: "active", secret: new Secret(random(ROOT_SECRET_BYTES)) }];
}

export function activeKey(ring: Keyring): RootKey | undefined {
  return ring.find((key) => key.state === "active");
}

/** The key that verifies tokens of this kid; a retired key verifies none. */
export function verifyingKey(ring: Keyring, kid: number): RootKey | undefined {
  return ring.find((key) => key.kid === kid && key.state !== "retired");
}

/** The same ring with a new active key; the old one verifies on. Refusal: `quota_exceeded`. */
export function rotateKeyring(ring: Keyring, random: (length: number) => Uint8Array): Keyring | Refusal {
  const kept = withRoom(ring);
  if (kept === undefined)
    return refuse("quota_exceeded", `a ring has at most ${KEYRING_KEYS_MAX} keys: retire one first`);
  const older = kept.map((key) => (key.state === "active" ? withState(key, "verify-only") : key));
  // A number is never used twice: the newest key stays in the ring, for it cannot be retired.
  const kid = Math.max(0, ...ring.map((key) => key.kid)) + 1;
  return [...older, { kid, state: "active", secret: new Secret(random(ROOT_SECRET_BYTES)) }];
}

/** Only a full ring forgets, and only its oldest retired key: one that verifies nothing, as if it were not there. */
function withRoom(ring: Keyring): Keyring | undefined {
  if (ring.length < KEYRING_KEYS_MAX) return ring;
  const oldest = ring.find((key) => key.state === "retired");
  return oldest && ring.filter((key) => key !== oldest);
}

/** The same ring with this key retired: from now on no token of its kid verifies. Refusal: `token_invalid`. */
export function retireKey(ring: Keyring, kid: number): Keyring | Refusal {
  const key = ring.find((known) => known.kid === kid);
  if (key === undefined) return refuse("token_invalid", `the ring has no key ${kid}`);
  if (key.state === "active")
    return refuse("token_invalid", `key ${kid} is the active one: rotate first, then retire it`);
  return ring.map((known) => (known === key ? withState(key, "retired") : known));
}

const withState = ({ kid, secret }: RootKey, state: KeyState): RootKey => ({ kid, state, secret });

/** Edge nodes that have a copy of the ring, each sealed under its own key. */
export type EdgeKeys = ReadonlyMap<string, Secret>;

/** What the store holds at `keys/{tenant}`. */
export interface TenantKeys {
  readonly ring: Keyring;
  readonly edges: EdgeKeys;
}

const FORMAT = "postern-keys/2";

/** Base64url. The ring's text names the edges and their keys, so that every change of the ring is sealed for them too. */
interface Sealed {
  readonly ring: string;
  readonly copies: Readonly<Record<string, string>>;
}

/** One object, so that a ring and its copies are changed together or not at all. */
export function sealTenantKeys(
  { ring, edges }: TenantKeys,
  tenant: string,
  master: Secret,
  random: (length: number) => Uint8Array,
): Uint8Array<ArrayBuffer> {
  const keys = ring.map(({ kid, state, secret }) => ({ kid, state, secret: toHex(secret.expose()) }));
  const named = [...edges].map(([name, key]) => [name, toHex(key.expose())]);
  const copies = [...edges].map(([name, key]) => [
    name,
    sealText(JSON.stringify({ keys }), ofCopy(tenant, name), key, random),
  ]);
  const text = JSON.stringify({ keys, edges: Object.fromEntries(named) });
  const sealed: Sealed = {
    ring: sealText(text, ofRing(tenant), master, random),
    copies: Object.fromEntries(copies),
  };
  return encodeDocument(FORMAT, sealed);
}

/** @returns `undefined` where the master key, the tenant or a byte is not the one it was sealed with. */
export function openTenantKeys(sealed: Uint8Array, tenant: string, master: Secret): TenantKeys | undefined {
  const { ring } = readSealed(sealed) ?? {};
  return ring === undefined ? undefined : openText(ring, ofRing(tenant), master);
}

/** @returns `withdrawn` where the edge node has no copy, or no longer; `undefined` where it does not open. */
export function openCopy(
  sealed: Uint8Array,
  tenant: string,
  edge: { readonly name: string; readonly key: Secret },
): Keyring | "withdrawn" | undefined {
  const { copies } = readSealed(sealed) ?? {};
  if (copies === undefined) return undefined;
  const copy = Object.hasOwn(copies, edge.name) ? copies[edge.name] : undefined;
  if (copy === undefined) return "withdrawn";
  return openText(copy, ofCopy(tenant, edge.name), edge.key)?.ring;
}

const ofRing = (tenant: string): Uint8Array => utf8(`postern/keyring/v2 ${tenant}`);
const ofCopy = (tenant: string, edge: string): Uint8Array =>
  utf8(`postern/keyring/v2 ${tenant} edge ${edge}`);

function readSealed(bytes: Uint8Array): Sealed | undefined {
  const { ring, copies }: Partial<Sealed> = decodeDocument(FORMAT, bytes) ?? {};
  return typeof ring === "string" && typeof copies === "object" ? { ring, copies } : undefined;
}

function sealText(
  text: string,
  bound: Uint8Array,
  key: Secret,
  random: (length: number) => Uint8Array,
): string {
  const nonce = random(NONCE_BYTES);
  return toBase64url(concat(nonce, xchacha20poly1305(key.expose(), nonce, bound).encrypt(utf8(text))));
}

function openText(sealed: string, bound: Uint8Array, key: Secret): TenantKeys | undefined {
  try {
    const bytes = fromBase64url(sealed) ?? new Uint8Array();
    const cipher = xchacha20poly1305(key.expose(), bytes.subarray(0, NONCE_BYTES), bound);
    return readKeys(fromUtf8(cipher.decrypt(bytes.subarray(NONCE_BYTES))) ?? "");
  } catch {
    return undefined;
  }
}

interface KeysText {
  readonly keys: readonly { readonly kid: number; readonly state: KeyState; readonly secret: string }[];
  readonly edges?: Readonly<Record<string, string>>;
}

/** Throws where the text is not a ring: it was authenticated, so nobody but a bug can have written it so. */
function readKeys(text: string): TenantKeys {
  const { keys, edges = {} } = JSON.parse(text) as KeysText;
  const ring = keys.map(({ kid, state, secret }) => ({ kid, state, secret: secretOf(secret) }));
  return { ring, edges: new Map(Object.entries(edges).map(([name, key]) => [name, secretOf(key)])) };
}

function secretOf(hex: string): Secret {
  const bytes = fromHex(hex);
  if (bytes?.length !== ROOT_SECRET_BYTES) throw new Error("a key of a key ring has not 32 bytes");
  return new Secret(bytes);
}
