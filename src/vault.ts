/**
 * What the host does for an actor with secrets that its handler never sees: its key, and the tokens that it holds.
 *
 * All of it is derived from the master key, so every node can do it and nothing is written. An actor's key signs what the
 * actor sends, and hands its capabilities on: what goes out is bound to its receiver, by the actor's own signature, and
 * only ever narrower than what came in (law 2).
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Vault } from "./actor/capabilities.ts";
import { parseCaveat } from "./authorize/caveats.ts";
import { concat, fromBase64url, fromUtf8, toBase64url, utf8 } from "./bytes.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { ACTOR_KEYS_CACHED_MAX } from "./limits.ts";
import { give } from "./sdk/delegate.ts";
import { Secret } from "./secret.ts";
import { bip340Signer, holderKey } from "./signature/bip340.ts";
import type { Signer } from "./signature/scheme.ts";
import { decodeTokens, encodeToken } from "./token/envelope.ts";

const SIGNING_LABEL = "postern/actor-key/v1";
const SEALING_LABEL = "postern/capability/v1";
const NONCE_BYTES = 24;

export class MasterVault implements Vault {
  readonly #signing: Secret;
  readonly #sealing: Secret;
  readonly #random: (length: number) => Uint8Array;
  /** The least recently used first. */
  readonly #signers = new Map<string, Signer>();

  constructor(master: Secret, random: (length: number) => Uint8Array) {
    this.#signing = new Secret(hmac(sha256, master.expose(), utf8(SIGNING_LABEL)));
    this.#sealing = new Secret(hmac(sha256, master.expose(), utf8(SEALING_LABEL)));
    this.#random = random;
  }

  publicKey(owner: string): string {
    return this.signer(owner).publicKey;
  }

  /** @param owner `tenant/type/id` */
  signer(owner: string): Signer {
    const known = this.#signers.get(owner) ?? this.#derive(owner);
    this.#signers.delete(owner);
    this.#signers.set(owner, known);
    const [oldest] = this.#signers.keys();
    if (this.#signers.size > ACTOR_KEYS_CACHED_MAX && oldest !== undefined) this.#signers.delete(oldest);
    return known;
  }

  #derive(owner: string): Signer {
    const key = holderKey(hmac(sha256, this.#signing.expose(), utf8(owner)));
    // 32 bytes are no secret key of secp256k1 with probability 2^-128.
    if (key === undefined) throw new Error(`no key can be derived for ${owner}`);
    // Without fresh randomness (BIP-340 allows it) the same is signed the same way: a kept reply is answered again as it
    // was, and a send that is tried again is the same request.
    return bip340Signer(key, () => new Uint8Array(32));
  }

  seal(owner: string, id: number, token: string): string {
    const nonce = this.#random(NONCE_BYTES);
    return toBase64url(concat(nonce, this.#cipher(owner, id, nonce).encrypt(utf8(token))));
  }

  open(owner: string, id: number, sealed: string): string {
    const bytes = fromBase64url(sealed) ?? new Uint8Array();
    const cipher = this.#cipher(owner, id, bytes.subarray(0, NONCE_BYTES));
    const token = fromUtf8(cipher.decrypt(bytes.subarray(NONCE_BYTES)));
    if (token === undefined) throw new Error(`capability ${id} of ${owner} is no text`);
    return token;
  }

  #cipher(owner: string, id: number, nonce: Uint8Array): ReturnType<typeof xchacha20poly1305> {
    return xchacha20poly1305(this.#sealing.expose(), nonce, utf8(`${owner} ${id}`));
  }

  handOn(owner: string, token: string, to: string, caveats: readonly string[]): string | Refusal {
    const wrong = refuseCaveats(caveats);
    if (wrong !== undefined) return wrong;
    // Discharges are bound to the token as it was: the receiver asks for its own.
    const tokens = decodeTokens(token);
    if (isRefusal(tokens)) throw new Error(`a capability of ${owner} is no token`);
    const [root] = tokens;
    const bound = give(root, to, this.signer(owner), { caveats });
    if (!isRefusal(bound)) return encodeToken(bound);
    return refuse("handler_invalid", `a capability cannot be handed on: ${bound.detail}`);
  }
}

/** Whom a token is bound to is what the host decides. */
const BINDING = new Set(["holder", "delegate"]);

function refuseCaveats(caveats: readonly string[]): Refusal | undefined {
  for (const [index, text] of caveats.entries()) {
    const caveat = parseCaveat(text, index);
    if (isRefusal(caveat))
      return refuse("handler_invalid", `a capability is to be narrowed by no caveat: ${caveat.detail}`);
    if (BINDING.has(caveat.name))
      return refuse("handler_invalid", `a handler binds no capability to a key: ${caveat.name}`);
  }
  return undefined;
}
