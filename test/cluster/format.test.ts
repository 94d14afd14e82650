import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkpointId,
  decodeObject,
  decodeSlot,
  encodeObject,
  type Header,
  logKey,
  manifestKey,
  partKey,
  slotOf,
} from "../../src/cluster/format.ts";
import { crc32 } from "../../src/crc32.ts";

const written = { epoch: fc.nat(), session: fc.string({ unit: "binary" }), nonce: fc.string() };
const anyHeader: fc.Arbitrary<Header> = fc.oneof(
  fc.record({ ...written, kind: fc.constant("entries" as const), durable: fc.nat() }),
  fc.record({ ...written, kind: fc.constant("seal" as const), resume: fc.nat() }),
  fc.record({ ...written, kind: fc.constant("part" as const) }),
);
const anyLines = fc.array(fc.json({ stringUnit: "binary" }), { maxLength: 5 });

const HEADER: Header = { kind: "entries", epoch: 3, session: "s", nonce: "n", durable: 41 };

describe("log objects", () => {
  test("come back as they were written", () => {
    fc.assert(
      fc.property(anyHeader, anyLines, (header, lines) => {
        expect(decodeObject(encodeObject(header, lines))).toEqual({ header, lines });
      }),
      { seed: 1 },
    );
  });

  test("are text that a person can read", () => {
    const bytes = encodeObject(HEADER, ['{"a":1}', '{"b":"ü"}']);
    expect(new TextDecoder().decode(bytes)).toBe(
      'postern-log/2 f38b6103\n{"kind":"entries","epoch":3,"session":"s","nonce":"n","durable":41}\n{"a":1}\n{"b":"ü"}',
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
    expect(decodeObject(new TextEncoder().encode("postern-log/1 00000000\n{}"))).toBe("is not of format 2");
  });

  test("that are part of a checkpoint are no slots", () => {
    const part = encodeObject({ kind: "part", epoch: 3, session: "s", nonce: "n" }, ["key line"]);
    expect(decodeSlot(part)).toBe("is no slot of a log");
    const slot = encodeObject(HEADER, ["1"]);
    expect(decodeSlot(slot)).toEqual(decodeObject(slot));
  });
});

describe("keys", () => {
  test("of slots and of checkpoint parts sort as their numbers do", () => {
    const seqs = [0, 1, 9, 10, 99, 100, 12_345_678, Number.MAX_SAFE_INTEGER];
    const names = seqs.map((seq) => logKey(3, seq));
    expect(names.toSorted()).toEqual(names);
    expect(names.map(slotOf)).toEqual(seqs);
    const parts = seqs.flatMap((seq) =>
      [0, 2, 10].map((part) => partKey(3, checkpointId(seq, "n"), 7, part)),
    );
    expect(parts.toSorted()).toEqual(parts);
  });

  test("of one checkpoint stand together under its name", () => {
    const id = checkpointId(12, "n");
    expect(manifestKey(3, id)).toBe("ckpt/003/00000000000000000012-n/manifest");
    expect(partKey(3, id, "common", 0)).toBe("ckpt/003/00000000000000000012-n/common/000000");
    expect(partKey(3, id, 4, 1)).toBe("ckpt/003/00000000000000000012-n/4/000001");
  });
});

test("a header that is none is told, though its checksum is right", () => {
  const body = new TextEncoder().encode("{\n{}");
  const head = `postern-log/2 ${zlibCrc32(body).toString(16).padStart(8, "0")}\n`;
  const object = new Uint8Array([...new TextEncoder().encode(head), ...body]);
  expect([decodeObject(object), decodeSlot(object)]).toEqual([
    "has no header of this version",
    "has no header of this version",
  ]);
});

test("the checksum is that of zlib", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70, size: "max" }), fc.nat(9), (bytes, from) => {
      expect(crc32(bytes.subarray(from))).toBe(zlibCrc32(bytes.subarray(from)));
    }),
    { seed: 1 },
  );
});
