/** Accesses and caveats from one small world, so that they meet often. */
import * as fc from "fast-check";
import type { Access } from "../../src/authorize/caveats.ts";

export const NOW_MS = Date.parse("2030-06-01T12:00:00Z");
export const [ALICE, MALLORY] = ["a1".repeat(32), "e4".repeat(32)] as const;

export const ACCESS: Access = {
  actor: { type: "account", id: "alice" },
  message: "deposit",
  now_ms: NOW_MS,
  signer: ALICE,
};

/** What a token needs to be used at all, and what admits `ACCESS`. */
export const USABLE: readonly [actor: string, expires: string, holder: string] = [
  "actor = account/alice",
  "expires < 2031-01-01T00:00:00Z",
  `holder = ${ALICE}`,
];

const anyMessage = fc.constantFrom("deposit", "withdraw", "balance");
const anyTime = fc.constantFrom(
  "2020-01-01T00:00:00Z",
  "2030-06-01T12:00:00Z",
  "2030-06-01T14:00:00+02:00",
  "2040-01-01T00:00:00.5Z",
);

export const anyAccess: fc.Arbitrary<Access> = fc.record({
  actor: fc.record({ type: fc.constantFrom("account", "till"), id: fc.constantFrom("alice", "bob") }),
  message: anyMessage,
  now_ms: fc.constantFrom(NOW_MS - 1, NOW_MS, NOW_MS + 1, Date.parse("2025-01-01T00:00:00Z")),
  signer: fc.constantFrom(ALICE, MALLORY),
});

/** Caveats of the registry, each well-formed. */
export const anyCaveat = fc.oneof(
  fc.constantFrom("account/alice", "account/*", "account/bob", "till/*").map((value) => `actor = ${value}`),
  fc.uniqueArray(anyMessage, { minLength: 1 }).map((names) => `message in ${names.join(",")}`),
  anyTime.map((time) => `expires < ${time}`),
  anyTime.map((time) => `not_before >= ${time}`),
  fc.constantFrom(ALICE, MALLORY).map((key) => `holder = ${key}`),
  fc
    .constantFrom("deposit*", "open;(deposit|withdraw)*", "balance @ 0123abcd")
    .map((text) => `protocol = ${text}`),
);

/** Texts that no gate of this version reads: unknown names, wrong operators, values out of form. */
export const unknownCaveats = [
  "",
  " ",
  "actor",
  "actor =",
  "actor = ",
  "actor=account/alice",
  " actor = account/alice",
  "actor = account/alice ",
  "actor  = account/alice",
  "actor = account/alice\n",
  "actor = account/alice\nactor = account/alice",
  "Actor = account/alice",
  "actor in account/alice",
  "actor < account/alice",
  "actor == account/alice",
  "actor = account",
  "actor = account/",
  "actor = /alice",
  "actor = */alice",
  "actor = */*",
  "actor = account/alice/x",
  "actor = account/alice/",
  "actor = account/al*",
  "actor = account/..",
  "actor = account/al%69ce",
  "actor = Account/alice",
  "actor = __proto__/alice",
  `actor = account/${"a".repeat(129)}`,
  "message = deposit",
  "message in ",
  "message in deposit,",
  "message in ,deposit",
  "message in deposit, withdraw",
  "message in Deposit",
  "message in *",
  "expires <= 2031-01-01T00:00:00Z",
  "expires = 2031-01-01T00:00:00Z",
  "expires < 2031-01-01",
  "expires < 2031-01-01T00:00Z",
  "expires < 2031-01-01T00:00:00",
  "expires < 2031-01-01T00:00:00z",
  "expires < 2031-01-01t00:00:00Z",
  "expires < 2031-01-01 00:00:00Z",
  "expires < 2031-01-01T00:00:00+0200",
  "expires < 2031-01-01T00:00:00+02",
  "expires < 2031-01-01T00:00:00+24:00",
  "expires < 2031-01-01T00:00:00+02:60",
  "expires < 2031-01-01T00:00:00.Z",
  "expires < 2031-01-01T00:00:00.1234Z",
  "expires < 2031-01-01T00:00:60Z",
  "expires < 2031-01-01T00:60:00Z",
  "expires < 2031-01-01T24:00:00Z",
  "expires < 2031-13-01T00:00:00Z",
  "expires < 2031-00-01T00:00:00Z",
  "expires < 2031-01-00T00:00:00Z",
  "expires < 2031-02-30T00:00:00Z",
  "expires < 2031-02-29T00:00:00Z",
  "expires < 2031-04-31T10:00:00+02:00",
  "expires < 2100-02-29T00:00:00Z",
  "expires < 31-01-01T00:00:00Z",
  "expires < +002031-01-01T00:00:00Z",
  "expires < 1924992000",
  "expires < never",
  "not_before > 2020-01-01T00:00:00Z",
  "not_before >= 2020-02-30T00:00:00Z",
  "not_before >= yesterday",
  `holder = ${"a1".repeat(31)}`,
  `holder = ${"a1".repeat(33)}`,
  `holder = ${"A1".repeat(32)}`,
  `holder = 0x${"a1".repeat(31)}`,
  "holder = *",
  "protocol =",
  "protocol = @ 0123abcd",
  "protocol = a @",
  "protocol = a @ label",
  "protocol = a @ 0123abc",
  "protocol = a @ 0123abcd0",
  "protocol = a @ 0123ABCD",
  "protocol = a @ 0123abcd @ 0123abcd",
  "protocol in a;b",
  "role = admin",
  "constructor = x",
  "__proto__ = x",
  "toString = x",
  "time < 2031-01-01T00:00:00Z",
  "not_after < 2031-01-01T00:00:00Z",
] as const;
