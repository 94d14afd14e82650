import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, parseRange, type Range } from "../../src/ip.ts";
import { clientAddress } from "../../src/request/client-address.ts";

const ranges = (...texts: string[]): Range[] => texts.flatMap((text) => parseRange(text) ?? []);
const PROXIES = ranges("10.0.0.0/8", "2001:db8::/32");

function seen(
  peer: string | undefined,
  fields: { xff?: string; forwarded?: string } = {},
  proxies = PROXIES,
) {
  const { xff = null, forwarded = null } = fields;
  const address = clientAddress({ peer, xForwardedFor: xff, forwarded }, proxies);
  return address === undefined ? undefined : formatAddress(address);
}

describe("without a trusted proxy in between, the socket's address is the caller's", () => {
  test.each(["203.0.113.9", "2001:db9::1"])("%s", (peer) => {
    expect(seen(peer)).toBe(peer);
  });

  test("whatever the request says of itself", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.ipV4(), (xff, forwarded, said) => {
        expect(seen("203.0.113.9", { xff, forwarded })).toBe("203.0.113.9");
        expect(seen("10.1.2.3", { xff: said, forwarded: `for=${said}` }, [])).toBe("10.1.2.3");
      }),
    );
  });

  test("an IPv4 caller of a socket for both is an IPv4 caller", () => {
    expect(seen("::ffff:203.0.113.9")).toBe("203.0.113.9");
  });

  test("no socket, no address", () => {
    for (const peer of [undefined, "", "somewhere", "fe80::1%eth0"]) expect(seen(peer)).toBeUndefined();
  });
});

describe("behind trusted proxies", () => {
  test("the last address that is no proxy's counts, and nothing before it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.ipV4(), fc.string()), { maxLength: 4 }),
        fc.nat({ max: 3 }),
        (before, proxies) => {
          const behind = Array.from({ length: proxies }, (_, i) => `10.0.0.${i}`);
          const xff = [...before.map((text) => text.replaceAll(",", "")), "203.0.113.9", ...behind].join(
            ", ",
          );
          expect(seen("10.9.9.9", { xff })).toBe("203.0.113.9");
        },
      ),
    );
  });

  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["203.0.113.9:4711", "203.0.113.9"],
    ["2001:db9::1", "2001:db9::1"],
    ["[2001:db9::1]", "2001:db9::1"],
    ["[2001:db9::1]:4711", "2001:db9::1"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["198.51.100.1,203.0.113.9", "203.0.113.9"],
    ["198.51.100.1 , 203.0.113.9 ,10.0.0.1", "203.0.113.9"],
    ["10.0.0.1, 10.0.0.2", "10.0.0.1"],
    ["203.0.113.9, unknown", undefined],
    ["203.0.113.9,", undefined],
    ["", undefined],
    ["203.0.113.9, 10.0.0.1, _hidden", undefined],
    ["203.0.113.999", undefined],
    ["[203.0.113.9]", undefined],
    ["203.0.113.9:port", undefined],
  ])("X-Forwarded-For: %s", (xff, expected) => {
    expect(seen("10.9.9.9", { xff })).toBe(expected);
  });

  test.each([
    ["for=203.0.113.9", "203.0.113.9"],
    ["For=203.0.113.9;proto=https;by=10.9.9.9", "203.0.113.9"],
    ['for="203.0.113.9:4711"', "203.0.113.9"],
    ['for="[2001:db9::1]:4711";proto=https', "2001:db9::1"],
    ["for=198.51.100.1, for=203.0.113.9, for=10.0.0.1", "203.0.113.9"],
    ['for=203.0.113.9, for=10.0.0.1;host="a,for=198.51.100.1"', "203.0.113.9"],
    ['for=203.0.113.9;host=";for=198.51.100.1;"', "203.0.113.9"],
    ["for=198.51.100.1;for=203.0.113.9", undefined],
    ["proto=https", undefined],
    ["for=unknown", undefined],
    ["for=203.0.113.9, for=_hidden", undefined],
    ['for="203.0.113.9', undefined],
    ['for="203.0.113\\.9"', undefined],
    ["", undefined],
  ])("Forwarded: %s", (forwarded, expected) => {
    expect(seen("10.9.9.9", { forwarded })).toBe(expected);
  });

  test("a caller cannot use the field that the proxy does not write: both must agree", () => {
    const [truth, lie] = ["203.0.113.9", "192.0.2.1"];
    expect(seen("10.9.9.9", { xff: truth, forwarded: `for=${truth}` })).toBe(truth);
    expect(seen("10.9.9.9", { xff: truth, forwarded: `for=${lie}` })).toBeUndefined();
    expect(seen("10.9.9.9", { xff: lie, forwarded: `for=${truth}` })).toBeUndefined();
    expect(seen("10.9.9.9", { xff: truth, forwarded: "for=unknown" })).toBeUndefined();
    expect(seen("10.9.9.9", { xff: "unknown", forwarded: `for=${truth}` })).toBeUndefined();
  });

  test("a proxy that calls for itself is the caller", () => {
    expect(seen("10.9.9.9")).toBe("10.9.9.9");
  });
});
