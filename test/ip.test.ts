import { BlockList, isIP } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, isWithin, parseAddress, parseRange } from "../src/ip.ts";

const anyV4 = fc.ipV4();
const anyV6 = fc.ipV6();
const anyMapped = anyV4.map((address) => `::ffff:${address}`);
const anyAddress = fc.oneof(anyV4, anyV6, anyMapped);
const familyOf = (text: string) => (isIP(text) === 4 ? "ipv4" : "ipv6");

/** The address as parsed; a text that is none fails the test. */
function parsed(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function within(text: string, range: string): boolean {
  const read = parseRange(range);
  if (read === undefined) throw new Error(`${range} is no range`);
  return isWithin(parsed(text), read);
}

/** The range that this address lies in. */
function rangeOf(text: string, bits: number): string {
  const bytes = parsed(text).slice();
  const most = Math.min(bits, 8 * bytes.length);
  for (let bit = most; bit < 8 * bytes.length; bit++)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7));
  return `${formatAddress(bytes)}/${most}`;
}

describe("addresses", () => {
  test("what Node takes for one is one, and nothing else", () => {
    const anyText = fc.oneof(
      anyAddress,
      fc.stringMatching(/^[0-9a-f:.]{0,40}$/),
      fc.stringMatching(/^([0-9a-fA-F]{0,5}:){0,9}([0-9]{1,3}\.){0,4}[0-9]{0,4}$/),
      fc.tuple(anyAddress, fc.nat(), fc.constantFrom(":", ".", "0", "f", "")).map(([text, at, put]) => {
        const index = at % text.length;
        return text.slice(0, index) + put + text.slice(index + 1);
      }),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        expect([text, parseAddress(text) !== undefined]).toEqual([text, isIP(text) !== 0]);
      }),
      { numRuns: 5000 },
    );
  });

  test("however it is written, an address is one value", () => {
    expect(parsed("::ffff:10.0.0.1")).toEqual(parsed("10.0.0.1"));
    expect(parsed("::FFFF:a00:1")).toEqual(parsed("10.0.0.1"));
    expect(parsed("2001:DB8:0:0:0:0:0:1")).toEqual(parsed("2001:db8::1"));
    expect(parsed("::10.0.0.1")).not.toEqual(parsed("10.0.0.1"));
  });

  test.each([
    "",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "10.0.0.1:80",
    "[::1]",
    "fe80::1%eth0",
    "1::2::3",
    ":::",
    "1:2:3:4:5:6:7:8::",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("what is formatted is read as the same, in the spelling of RFC 5952", () => {
    fc.assert(
      fc.property(anyAddress, (text) => {
        const formatted = formatAddress(parsed(text));
        expect(parsed(formatted)).toEqual(parsed(text));
        const canonical = new URL(`http://${isIP(formatted) === 6 ? `[${formatted}]` : formatted}`).hostname;
        expect(formatted).toBe(canonical.replace(/^\[|\]$/g, ""));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("ranges", () => {
  test("hold what Node's BlockList says", () => {
    fc.assert(
      fc.property(anyAddress, anyAddress, fc.nat({ max: 128 }), fc.boolean(), (base, other, bits, near) => {
        const range = rangeOf(base, bits);
        const [first = "", digits = ""] = range.split("/");
        const list = new BlockList();
        list.addSubnet(first, Number(digits), familyOf(first));
        const text = near ? formatAddress(parsed(base)) : formatAddress(parsed(other));
        // Node lets ::/0 hold IPv4 addresses, too.
        const holds = familyOf(text) === familyOf(first) && list.check(text, familyOf(text));
        expect(within(text, range)).toBe(holds);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ["10.1.2.3", "10.0.0.0/8", true],
    ["11.0.0.0", "10.0.0.0/8", false],
    ["::ffff:10.1.2.3", "10.0.0.0/8", true],
    ["10.1.2.3", "::ffff:10.0.0.0/104", true],
    ["10.1.2.3", "0.0.0.0/0", true],
    ["::1", "0.0.0.0/0", false],
    ["10.1.2.3", "::/0", false],
    ["::1", "::/0", true],
    ["2001:db8::1", "2001:db8::/32", true],
    ["2001:db9::1", "2001:db8::/32", false],
    ["10.0.0.1", "10.0.0.1/32", true],
    ["10.0.0.2", "10.0.0.1/32", false],
  ])("%s within %s: %s", (text, range, expected) => {
    expect(within(text, range)).toBe(expected);
  });

  test.each([
    "10.0.0.1",
    "10.0.0.1/",
    "/8",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0.0/8/8",
    "10.0.0.1/8",
    "2001:db8::1/32",
    "2001:db8::/129",
    "::ffff:10.0.0.0/8",
    "::ffff:10.0.0.1/104",
    "10.0.0.0 /8",
  ])("%j is none", (text) => {
    expect(parseRange(text)).toBeUndefined();
  });
});
