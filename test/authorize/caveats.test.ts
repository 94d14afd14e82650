import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Access, type CaveatName, formatCaveat, parseCaveat } from "../../src/authorize/caveats.ts";
import { parseAddress } from "../../src/ip.ts";
import { CAVEAT_BYTES_MAX } from "../../src/limits.ts";
import { outcome, refused, taken } from "../token/outcome.ts";
import { ACCESS, ALICE, anyAccess, anyCaveat, MALLORY, NOW_MS, unknownCaveats } from "./arbitrary.ts";

/** Why the caveat prohibits the access; `undefined` where it does not. */
const ask = (text: string, access: Partial<Access> = {}) =>
  taken(parseCaveat(text, 0)).prohibits({ ...ACCESS, ...access });
/** One value of each caveat. */
const VALUES: Readonly<Record<CaveatName, string>> = {
  actor: "account/*",
  message: "a,b",
  expires: "2031-01-01T00:00:00Z",
  not_before: "2031-01-01T00:00:00Z",
  holder: ALICE,
  delegate: `${MALLORY} ${"00".repeat(64)}`,
  protocol: "a;b",
  when: "args.amount <= 100",
  client_ip: "10.0.0.0/8",
  uses: "3",
  rate: "10/m",
  audience: "https://gate.example",
};
const at = (time: string) => ({ now_ms: Date.parse(time) });
const actor = (type: string, id: string) => ({ actor: { type, id } });

describe("each caveat admits what it names", () => {
  test.each<[string, Partial<Access>]>([
    ["actor = account/alice", {}],
    ["actor = account/*", {}],
    ["actor = account/*", actor("account", "bob")],
    [`actor = account/${"a".repeat(128)}`, actor("account", "a".repeat(128))],
    ["actor = account/a.b_c~d:e@f-g", actor("account", "a.b_c~d:e@f-g")],
    ["message in deposit", {}],
    ["message in open,deposit", {}],
    ["message in deposit,deposit", {}],
    ["message in constructor", { message: "constructor" }],
    ["expires < 2030-06-01T12:00:00.001Z", {}],
    ["expires < 2030-06-01T14:00:00.001+02:00", {}],
    ["expires < 2030-06-01T10:00:00.1-02:00", {}],
    ["expires < 2030-06-01T12:00:00.01-00:00", {}],
    ["expires < 2032-02-29T00:00:00Z", {}],
    ["expires < 2031-01-01T23:59:59Z", {}],
    ["not_before >= 2030-06-01T12:00:00Z", {}],
    ["not_before >= 2030-06-01T13:00:00+01:00", {}],
    ["when = args.amount <= 100", {}],
    ["when = args.amount == 5 && message == 'deposit'", {}],
    ["when = actor.type == 'account' && actor.id == 'alice'", {}],
    ["when = client.ip == '192.0.2.7' && client.key.startsWith('a1a1')", {}],
    ["when = now == timestamp('2030-06-01T12:00:00Z')", {}],
    ["when = now.getHours('Europe/Berlin') == 14", {}],
    ["when = has(client.ip) || true", { address: undefined }],
    ["client_ip in 192.0.2.0/24", {}],
    ["client_ip in 10.0.0.0/8,192.0.2.7/32", {}],
    ["client_ip in ::ffff:192.0.2.0/120", {}],
    ["client_ip in 2001:db8::/32", { address: parseAddress("2001:db8::1") }],
    ["uses <= 1", {}],
    ["uses <= 999999999", {}],
    ["rate <= 10/m", {}],
    ["rate <= 1/31d", {}],
    ["audience = https://gate.example", {}],
    ["audience = http://gate.example", {}],
    ["audience = https://gate.example:8443", { authority: "gate.example:8443" }],
    ["audience = http://[::1]:8787", { authority: "[::1]:8787" }],
  ])("%s", (text, access) => {
    expect(ask(text, access)).toBeUndefined();
  });
});

describe("each caveat prohibits everything else, and says why", () => {
  test.each<[string, Partial<Access>, string]>([
    ["actor = account/alice", actor("account", "bob"), "it reaches account/alice, not account/bob"],
    ["actor = account/alice", actor("till", "alice"), "it reaches account/alice, not till/alice"],
    ["actor = account/alice", actor("account", "Alice"), "it reaches account/alice, not account/Alice"],
    ["actor = account/alice", actor("account", "alice2"), "it reaches account/alice, not account/alice2"],
    ["actor = account/*", actor("accounts", "alice"), "it reaches account/*, not accounts/alice"],
    ["message in open,close", {}, "it allows open, close, not deposit"],
    ["message in deposits", {}, "it allows deposits, not deposit"],
    ["message in open", { message: "toString" }, "it allows open, not toString"],
    ["expires < 2030-06-01T12:00:00Z", {}, "it expired at 2030-06-01T12:00:00Z"],
    ["expires < 2030-06-01T14:00:00+02:00", {}, "it expired at 2030-06-01T14:00:00+02:00"],
    [
      "expires < 2030-06-01T12:00:00.999Z",
      at("2030-06-01T12:00:00.999Z"),
      "it expired at 2030-06-01T12:00:00.999Z",
    ],
    ["not_before >= 2030-06-01T12:00:00.001Z", {}, "it begins at 2030-06-01T12:00:00.001Z"],
    ["not_before >= 2030-06-01T12:00:00-01:00", {}, "it begins at 2030-06-01T12:00:00-01:00"],
    ["when = args.amount < 5", {}, "its condition does not hold"],
    ["when = args.amount", {}, "its condition is neither true nor false"],
    ["client_ip in 10.0.0.0/8,::/0", {}, "it admits 10.0.0.0/8,::/0, not 192.0.2.7"],
    ["client_ip in 0.0.0.0/0,::/0", { address: undefined }, "the caller's address is not known"],
    ["audience = https://other.example", {}, "it is meant for https://other.example, not for gate.example"],
    [
      "audience = https://gate.example",
      { authority: "gate.example:8443" },
      "it is meant for https://gate.example, not for gate.example:8443",
    ],
  ])("%s", (text, access, reason) => {
    expect(ask(text, access)).toBe(reason);
  });

  test("of two that exclude each other, one prohibits", () => {
    fc.assert(
      fc.property(anyAccess, (access) => {
        for (const [one, other] of [
          ["actor = account/alice", "actor = account/bob"],
          ["message in deposit", "message in withdraw,balance"],
          ["client_ip in 192.0.2.0/24", "client_ip in 192.0.3.0/24,2001:db8::/32"],
          ["audience = https://gate.example", "audience = https://other.example"],
          ["expires < 2030-06-01T12:00:00Z", "not_before >= 2030-06-01T12:00:00Z"],
        ] as const)
          expect([ask(one, access), ask(other, access)]).toContainEqual(expect.any(String));
      }),
    );
  });
});

describe("time passes in milliseconds", () => {
  test("expires admits until its moment and not at it; not_before from its moment on", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date("9999-12-31T23:59:59.999Z"), noInvalidDate: true }),
        (moment) => {
          const [time, ms] = [moment.toISOString(), moment.getTime()];
          expect(taken(parseCaveat(`expires < ${time}`, 0)).expires_ms).toBe(ms);
          expect(ask(`expires < ${time}`, { now_ms: ms - 1 })).toBeUndefined();
          expect(ask(`expires < ${time}`, { now_ms: ms })).toBe(`it expired at ${time}`);
          expect(ask(`not_before >= ${time}`, { now_ms: ms - 1 })).toBe(`it begins at ${time}`);
          expect(ask(`not_before >= ${time}`, { now_ms: ms })).toBeUndefined();
        },
      ),
    );
  });
});

describe("what is not understood is refused, never skipped", () => {
  test.each(unknownCaveats)("%j", (text) => {
    const refusal = refused(parseCaveat(text, 7));
    expect(refusal.code).toBe("unknown_caveat");
    expect(refusal.detail).toMatch(/^caveat 7 is refused because /);
    expect(refusal.facts).toMatchObject({ token: 0, caveat: { index: 7, text } });
  });

  test("any text that is not of the registry", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        fc.pre(!Object.keys(VALUES).some((name) => text.startsWith(`${name} `)));
        expect(outcome(parseCaveat(text, 0))).toBe("unknown_caveat");
      }),
    );
  });

  test("a known name says of which form it should have been", () => {
    expect(refused(parseCaveat("message in A", 0)).detail).toBe(
      "caveat 0 is refused because it is not of the form `message in a,b`",
    );
    for (const text of ["role = admin", "constructor = x", "toString = x"])
      expect(refused(parseCaveat(text, 0)).detail).toContain("this gate does not know it");
  });

  test("a condition says where its mistake is", () => {
    expect(refused(parseCaveat("when = args.amount = 5", 0)).facts.position).toEqual({
      text: "args.amount = 5",
      column: 13,
    });
    expect(refused(parseCaveat("when = arg.amount", 0)).facts.position).toBeUndefined();
  });

  test("a text past its bound", () => {
    const long = (length: number) => `protocol = ${"a".repeat(length - "protocol = ".length)}`;
    expect(outcome(parseCaveat(long(CAVEAT_BYTES_MAX), 0))).toBe("taken");
    expect(outcome(parseCaveat(long(CAVEAT_BYTES_MAX + 1), 0))).toBe("unknown_caveat");
  });
});

describe("what a caveat tells besides", () => {
  test("its name and text, as they stand", () => {
    fc.assert(
      fc.property(anyCaveat, (text) => {
        const caveat = taken(parseCaveat(text, 0));
        expect(caveat.text).toBe(text);
        expect(text.startsWith(`${caveat.name} `)).toBe(true);
      }),
    );
  });

  test("the messages that stay allowed, and the protocol with its label", () => {
    expect(taken(parseCaveat("message in b,a", 0)).messages).toEqual(new Set(["a", "b"]));
    expect(taken(parseCaveat("protocol = a ; b", 0))).toMatchObject({
      protocol: "a ; b",
      text: "protocol = a ; b",
    });
    expect(taken(parseCaveat("protocol = a ; b", 0)).label).toBeUndefined();
    for (const text of [
      "protocol = a ; b @ 0123abcd",
      "protocol = a ; b@0123abcd",
      "protocol = a ; b  @  0123abcd",
    ])
      expect(taken(parseCaveat(text, 0))).toMatchObject({ protocol: "a ; b", label: "0123abcd", text });
    expect(ask("protocol = a;b", { now_ms: NOW_MS })).toBeUndefined();
  });

  test("the key that it binds to, and who it is handed on to", () => {
    for (const key of [ALICE, `ed25519:${ALICE}`])
      expect(taken(parseCaveat(`holder = ${key}`, 0)).holder).toBe(key);
    const signature = "0f".repeat(64);
    expect(taken(parseCaveat(`delegate = ed25519:${ALICE} ${signature}`, 0)).delegation).toEqual({
      to: `ed25519:${ALICE}`,
      signature: new Uint8Array(64).fill(15),
    });
  });

  test("what it counts", () => {
    const countOf = (text: string) => taken(parseCaveat(text, 0)).count;
    expect(countOf("uses <= 3")).toEqual({ most: 3 });
    expect(countOf("rate <= 10/s")).toEqual({ most: 10, period_ms: 1000 });
    expect(countOf("rate <= 1/30s")).toEqual({ most: 1, period_ms: 30_000 });
    expect(countOf("rate <= 5/15m")).toEqual({ most: 5, period_ms: 900_000 });
    expect(countOf("rate <= 5/2h")).toEqual({ most: 5, period_ms: 7_200_000 });
    expect(countOf("rate <= 5/d")).toEqual({ most: 5, period_ms: 86_400_000 });
  });

  test("what of an access it needs", () => {
    const needsOf = (text: string) => taken(parseCaveat(text, 0)).needs ?? [];
    expect(needsOf("client_ip in ::/0")).toEqual(["address"]);
    expect(needsOf("audience = https://gate.example")).toEqual(["authority"]);
    expect(needsOf("when = message == 'a'")).toEqual([]);
    expect(needsOf("when = args.a == client.ip")).toEqual(["args", "address"]);
  });

  test("what is formatted is read", () => {
    for (const [name, value] of Object.entries(VALUES) as [CaveatName, string][])
      expect(taken(parseCaveat(formatCaveat(name, value), 0)).name).toBe(name);
  });
});
