import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkpointKey, decodeObject, encodeObject, type Header, logKey } from "../../src/cluster/format.ts";
import { crc32 } from "../../src/crc32.ts";

const anyHeader: fc.Arbitrary<Header> = fc.record({
  epoch: fc.nat(),
  session: fc.string({ unit: "binary" }),
  nonce: fc.string(),
  kind: fc.constantFrom("entries", "seal", "checkpoint"),
});
const anyEntries = fc.array(fc.json({ stringUnit: "binary" }), { maxLength: 5 });

const HEADER: Header = { epoch: 3, session: "s", nonce: "n", kind: "entries" };

describe("log objects", () => {
  test("come back as they were written", () => {
    fc.assert(
      fc.property(anyHeader, anyEntries, (header, entries) => {
        expect(decodeObject(encodeObject(header, entries))).toEqual({ header, entries });
      }),
      { seed: 1 },
    );
  });

  test("are text that a person can read", () => {
    const bytes = encodeObject(HEADER, ['{"a":1}', '{"b":"ü"}']);
    expect(new TextDecoder().decode(bytes)).toBe(
      'postern-log/1 7c8dd731\n{"epoch":3,"session":"s","nonce":"n","kind":"entries"}\n{"a":1}\n{"b":"ü"}',
    );
  });

  test("betray every flipped bit and every byte that was changed", () => {
    const bytes = encodeObject(HEADER, ['{"a":1}', '"ü"']);
    for (let at = 0; at < bytes.length; at++) {
      const original = bytes[at] ?? 0;
      for (let flip = 1; flip < 256; flip++) {
        bytes[at] = original ^ flip;
        expect(typeof decodeObject(bytes), `byte ${at} ^ ${flip}`).toBe("string");
      }
      bytes[at] = original;
    }
  });

  test("betray that they were cut, or grew", () => {
    const bytes = encodeObject(HEADER, ['{"a":1}', '{"b":2}']);
    for (let length = 0; length < bytes.length; length++)
      expect(typeof decodeObject(bytes.subarray(0, length)), `${length} bytes`).toBe("string");
    expect(decodeObject(new Uint8Array([...bytes, 0x0a]))).toBe("does not match its checksum");
  });

  test("of another format are told from damaged ones", () => {
    expect(decodeObject(new TextEncoder().encode("postern-log/2 00000000\n{}"))).toBe("is not of format 1");
  });
});

describe("keys", () => {
  test("of slots and of checkpoint parts sort as their numbers do", () => {
    const seqs = [0, 1, 9, 10, 99, 100, 12_345_678, Number.MAX_SAFE_INTEGER];
    const names = seqs.map((seq) => logKey(3, seq));
    expect(names.toSorted()).toEqual(names);
    const parts = seqs.flatMap((seq) => [0, 2, 10].map((part) => checkpointKey(3, seq, part)));
    expect(parts.toSorted()).toEqual(parts);
  });
});

test("the checksum is that of zlib", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(crc32(bytes)).toBe(zlibCrc32(bytes));
    }),
    { seed: 1 },
  );
});
