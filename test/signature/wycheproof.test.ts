/**
 * Project Wycheproof's vectors (C2SP/wycheproof, testvectors_v1 at dac1dd47, Apache-2.0), as tables: edge cases that
 * implementations have been wrong about.
 */
import { readFileSync } from "node:fs";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/bytes.ts";
import { ed25519 } from "../../src/signature/ed25519.ts";

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  const decoded = fromHex(hex);
  if (decoded === undefined) throw new Error(`no hex: ${hex}`);
  return decoded;
}

function rows(name: string): readonly (readonly string[])[] {
  const text = readFileSync(new URL(`../vectors/${name}.csv`, import.meta.url), "utf8");
  return text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","));
}

describe("Ed25519", () => {
  const vectors = rows("wycheproof-ed25519");

  test("all vectors are there", () => {
    expect(vectors).toHaveLength(151);
  });

  test.each(vectors)("%s: %s %s %s is %s: %s", (_, key = "", message = "", signature = "", result) => {
    expect(ed25519.verify(key, bytes(message), bytes(signature))).toBe(result === "valid");
  });
});

describe("HMAC-SHA256, of which every token is made", () => {
  const vectors = rows("wycheproof-hmac-sha256");

  test("all vectors are there", () => {
    expect(vectors).toHaveLength(174);
  });

  test.each(vectors)("%s: %s %s %s is %s: %s", (_, key = "", message = "", tag = "", result) => {
    const ours = toHex(hmac(sha256, bytes(key), bytes(message)));
    // Half of them are for tags that were cut; Postern cuts none.
    expect(ours.slice(0, tag.length) === tag).toBe(result === "valid");
  });
});
