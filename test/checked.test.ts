/** Objects under a checksum: what was written comes back, and nothing else does. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { decodeChecked, decodeDocument, encodeChecked, encodeDocument, type Format } from "../src/checked.ts";

const FORMAT: Format = "postern-test/12";
const anyBytes = fc.uint8Array({ maxLength: 40 });

describe("an object under a checksum", () => {
  test("comes back as it was written, and is text with what it is at its head", () => {
    fc.assert(
      fc.property(anyBytes, (body) => {
        expect(decodeChecked(FORMAT, encodeChecked(FORMAT, body))).toEqual(body);
      }),
    );
    expect(new TextDecoder().decode(encodeChecked(FORMAT, utf8("hello")))).toBe(
      "postern-test/12 3610a686\nhello",
    );
  });

  test("betrays every changed byte, every cut and every byte too many", () => {
    fc.assert(
      fc.property(anyBytes, fc.nat(), fc.integer({ min: 1, max: 255 }), (body, at, change) => {
        const whole = encodeChecked(FORMAT, body);
        const changed = new Uint8Array(whole);
        const where = at % whole.length;
        changed[where] = (changed[where] ?? 0) ^ change;
        const others = [changed, whole.subarray(0, where), new Uint8Array([...whole, change])];
        for (const other of others) expect(typeof decodeChecked(FORMAT, other)).toBe("string");
      }),
    );
  });

  test("of another kind or version is told apart from a damaged one", () => {
    const whole = encodeChecked(FORMAT, utf8("hello"));
    expect(decodeChecked("postern-test/13", whole)).toBe("is not of format 13");
    expect(decodeChecked("postern-test/1", whole)).toBe("is not of format 1");
    expect(decodeChecked("postern-other/12", whole)).toBe("is not of format 12");
    expect(decodeChecked(FORMAT, new Uint8Array())).toBe("is not of format 12");
    expect(decodeChecked(FORMAT, utf8("postern-test/12 00000000\nhello"))).toBe(
      "does not match its checksum",
    );
  });
});

test("a document is an object in JSON, or it is none", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), (document) => {
      expect(decodeDocument(FORMAT, encodeDocument(FORMAT, document))).toEqual({ ...document });
    }),
  );
  for (const text of ["", "null", "1", '"a"', "{"])
    expect(decodeDocument(FORMAT, encodeChecked(FORMAT, utf8(text))), text).toBeUndefined();
  expect(decodeDocument(FORMAT, utf8("{}"))).toBeUndefined();
});
