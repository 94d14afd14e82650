/** macaroons.js as the other party: it mints, attenuates and verifies, in the v1 packets that it speaks. */
import macaroons, { type Builder, type PacketMacaroon } from "macaroons.js";
import { concat, fromAnyBase64, fromHex, fromUtf8, toBase64url, utf8 } from "../../src/bytes.ts";
import { encodeV1 } from "../../src/token/codec-v1.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { taken } from "./outcome.ts";

export function theirMacaroon(
  secret: string,
  identifier: string,
  caveats: readonly string[],
  location = "x",
) {
  return theirAttenuated(new macaroons.MacaroonsBuilder(location, secret, identifier), caveats);
}

export function theirAttenuated(builder: Builder, caveats: readonly string[]): PacketMacaroon {
  for (const caveat of caveats) builder.add_first_party_caveat(caveat);
  return builder.getMacaroon();
}

export function theirBuilder(macaroon: Macaroon): Builder {
  return macaroons.MacaroonsBuilder.modify(theirDecoding(taken(encodeV1(macaroon))));
}

export function theirDecoding(packets: Uint8Array): PacketMacaroon {
  return macaroons.MacaroonsDeSerializer.deserialize(toBase64url(packets));
}

export function theyAccept(packets: Uint8Array, secret: string, caveats: readonly string[]): boolean {
  const verifier = new macaroons.MacaroonsVerifier(theirDecoding(packets));
  for (const caveat of caveats) verifier.satisfyExact(caveat);
  return verifier.isValid(secret);
}

export const signatureOf = (macaroon: PacketMacaroon): Uint8Array | undefined =>
  fromHex(macaroon.signature ?? "");

export const packetsOf = (macaroon: PacketMacaroon): Uint8Array =>
  fromAnyBase64(macaroon.serialize()) ?? new Uint8Array();

/** One v1 packet: four hex digits of length, a name, a space, the value, a line end. */
export function packet(name: string, value: Uint8Array): Uint8Array {
  const body = concat(utf8(`${name} `), value, utf8("\n"));
  return concat(utf8((body.length + 4).toString(16).padStart(4, "0")), body);
}

export const textOf = (bytes: Uint8Array): string => fromUtf8(bytes) ?? "(not UTF-8)";
