import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Vouching } from "../../src/cluster/vouching.ts";
import { parseAddress } from "../../src/ip.ts";
import { Secret } from "../../src/secret.ts";

const vouching = new Vouching(new Secret(new Uint8Array(32).fill(1)));
const other = new Vouching(new Secret(new Uint8Array(32).fill(2)));
const anyAddress = fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => parseAddress(text) ?? new Uint8Array());

describe("a vouched address", () => {
  test("is read by who shares the key, for the request it was written for", () => {
    fc.assert(
      fc.property(anyAddress, fc.string(), fc.string(), (address, signature, another) => {
        const value = vouching.write(address, signature);
        expect(vouching.read(value, signature)).toEqual(address);
        expect(other.read(value, signature)).toBeUndefined();
        if (another !== signature) expect(vouching.read(value, another)).toBeUndefined();
      }),
    );
  });

  test("cannot be changed", () => {
    const value = vouching.write(parseAddress("203.0.113.9") ?? new Uint8Array(), "sig=:AAAA:");
    for (let at = 0; at < value.length; at++) {
      const changed = value.slice(0, at) + (value[at] === "1" ? "2" : "1") + value.slice(at + 1);
      expect(vouching.read(changed, "sig=:AAAA:")).toBeUndefined();
    }
    for (const wrong of [null, "", " ", "203.0.113.9", `${value}0`, value.toUpperCase()])
      expect(vouching.read(wrong, "sig=:AAAA:")).toBeUndefined();
  });
});
