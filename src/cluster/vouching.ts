/**
 * What one node tells another of a call that it passes on: the caller's address, as it saw it.
 *
 * Nodes do not trust each other's places: a peer's address may be that of a proxy, or of everything on one machine.
 * What all nodes of a store share is its master key, and whoever has that can open every root key and mint what he
 * likes; so a claim that is sealed under it is as good as the caller's own socket. It is bound to the caller's
 * signature, so it cannot be put on another request. An edge node vouches with its own key: it has the root keys of its
 * tenants, so for their calls, and no others, its word is as good.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { equalConstantTime, fromHex, toHex, utf8 } from "../bytes.ts";
import { type Address, formatAddress, parseAddress } from "../ip.ts";
import { Secret } from "../secret.ts";

/** `<address> <64 hex>`: HMAC-SHA256 of `<address>\n<the request's Signature field>`. */
export const CLIENT_HEADER = "postern-client";

const KEY_LABEL = utf8("postern/passed-on/v1");

export class Vouching {
  readonly #key: Secret;

  /** @param secret the master key, or that of an edge node */
  constructor(secret: Secret) {
    this.#key = new Secret(hmac(sha256, secret.expose(), KEY_LABEL));
  }

  /** @param signature the value of the request's `Signature` field */
  write(address: Address, signature: string): string {
    const text = formatAddress(address);
    return `${text} ${toHex(this.#mac(text, signature))}`;
  }

  /** @returns the address, where whoever has this key has vouched for it on this request */
  read(value: string | null, signature: string): Address | undefined {
    const [text = "", hex = ""] = value?.split(" ") ?? [];
    const mac = fromHex(hex);
    if (mac === undefined || !equalConstantTime(mac, this.#mac(text, signature))) return undefined;
    return parseAddress(text);
  }

  #mac(text: string, signature: string): Uint8Array {
    return hmac(sha256, this.#key.expose(), utf8(`${text}\n${signature}`));
  }
}
