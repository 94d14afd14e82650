/**
 * A tenant's root keys, sealed at rest.
 *
 * The ring holds one active key, which mints, and older ones that only verify. In the store it is
 * XChaCha20-Poly1305 under the node's master key, bound to its tenant, so that a copied or swapped object opens
 * nowhere else.
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concat, fromHex, fromUtf8, toHex, utf8 } from "../bytes.ts";
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

const associatedData = (tenant: string): Uint8Array => utf8(`postern/keyring/v1 ${tenant}`);

export function sealKeyring(
  ring: Keyring,
  tenant: string,
  master: Secret,
  random: (length: number) => Uint8Array,
): Uint8Array<ArrayBuffer> {
  const plain = JSON.stringify(
    ring.map(({ kid, state, secret }) => ({ kid, state, secret: toHex(secret.expose()) })),
  );
  const nonce = random(NONCE_BYTES);
  const cipher = xchacha20poly1305(master.expose(), nonce, associatedData(tenant));
  return concat(nonce, cipher.encrypt(utf8(plain)));
}

/** @returns `undefined` where the master key, the tenant or a byte is not the one it was sealed with. */
export function openKeyring(sealed: Uint8Array, tenant: string, master: Secret): Keyring | undefined {
  try {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const cipher = xchacha20poly1305(master.expose(), nonce, associatedData(tenant));
    return readRing(fromUtf8(cipher.decrypt(sealed.subarray(NONCE_BYTES))) ?? "");
  } catch {
    return undefined;
  }
}

/** Throws where the text is not a ring: it was authenticated, so nobody but a bug can have written it so. */
function readRing(text: string): Keyring {
  const keys = JSON.parse(text) as { kid: number; state: KeyState; secret: string }[];
  return keys.map(({ kid, state, secret }) => {
    const bytes = fromHex(secret);
    if (bytes?.length !== ROOT_SECRET_BYTES) throw new Error(`key ${kid} of a key ring has not 32 bytes`);
    return { kid, state, secret: new Secret(bytes) };
  });
}
