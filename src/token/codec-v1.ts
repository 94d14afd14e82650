/**
 * The v1 packet format, by macaroons.js (Node only: it needs Buffer).
 *
 * Only its codec is used. Its verifier skips unsatisfied caveats and compares in variable time, and its
 * third-party encryption uses a zero nonce, so neither is called anywhere.
 */
import macaroons, { type PacketMacaroon } from "macaroons.js";
import { fromUtf8, toBase64url, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX } from "../limits.ts";
import type { Macaroon, UnsafeCaveat } from "./macaroon.ts";

/** macaroons.js numbers its packet types; these are the ones of a caveat. */
const CID = 3;
const VID = 4;
const CL = 5;

export function decodeV1(bytes: Uint8Array): Macaroon | Refusal {
  let parsed: PacketMacaroon;
  try {
    parsed = macaroons.MacaroonsDeSerializer.deserialize(toBase64url(bytes));
  } catch {
    return refuse("token_malformed", "the v1 macaroon cannot be read");
  }
  const { identifier, signatureBuffer } = parsed;
  if (typeof identifier !== "string" || signatureBuffer?.length !== 32)
    return refuse("token_malformed", "the v1 macaroon has no identifier or no 32-byte signature");
  const unsafeCaveats = readCaveats(parsed.caveatPackets);
  if (isRefusal(unsafeCaveats)) return unsafeCaveats;
  return {
    location: parsed.location ?? "",
    identifier: utf8(identifier),
    unsafeCaveats,
    signature: new Uint8Array(signatureBuffer),
  };
}

/** A caveat is a cid packet, followed by a vid and a cl packet where it is a third party's. */
function readCaveats(packets: PacketMacaroon["caveatPackets"]): UnsafeCaveat[] | Refusal {
  const caveats: UnsafeCaveat[] = [];
  for (const packet of packets) {
    const raw = new Uint8Array(packet.rawValue);
    const last = caveats.at(-1);
    if (raw.length > CAVEAT_BYTES_MAX)
      return refuse("token_malformed", `a caveat has more than ${CAVEAT_BYTES_MAX} bytes`);
    if (packet.type === CID) caveats.push({ cid: raw });
    else if (packet.type === VID && last !== undefined) caveats[caveats.length - 1] = { ...last, vid: raw };
    else if (packet.type === CL && last !== undefined)
      caveats[caveats.length - 1] = { ...last, location: fromUtf8(raw) ?? "" };
    else return refuse("token_malformed", "the v1 macaroon's packets are out of order");
  }
  return caveats.length <= CAVEATS_MAX
    ? caveats
    : refuse("token_malformed", `the v1 macaroon has more than ${CAVEATS_MAX} caveats`);
}
