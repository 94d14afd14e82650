/** RFC 9530 Content-Digest with SHA-256: ties the body to the signed header fields. */
import { sha256 } from "@noble/hashes/sha2.js";
import { parseDictionary, serializeDictionary } from "structured-headers";
import { equalConstantTime } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";

export function contentDigest(body: Uint8Array): string {
  return serializeDictionary(new Map([["sha-256", [sha256(body), new Map()]]]));
}

/** @returns the body's SHA-256 (32 bytes), or `malformed_request`. */
export function checkContentDigest(field: string | null, body: Uint8Array): Uint8Array | Refusal {
  if (field === null) return refuse("malformed_request", "the request needs a Content-Digest (RFC 9530)");
  const claimed = sha256Member(field);
  if (claimed === undefined) return refuse("malformed_request", "Content-Digest has no sha-256 member");
  const digest = sha256(body);
  return equalConstantTime(digest, claimed)
    ? digest
    : refuse("malformed_request", "the body does not match its Content-Digest: it was cut or changed");
}

function sha256Member(field: string): Uint8Array | undefined {
  try {
    const value = parseDictionary(field).get("sha-256")?.[0];
    return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
  } catch {
    return undefined;
  }
}
