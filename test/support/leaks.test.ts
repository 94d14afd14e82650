/** The check that no secret is written can fail: in every form of each kind of secret. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { toHex, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import { encodeToken } from "../../src/token/envelope.ts";
import { must } from "./gate.ts";
import leakCheck from "./leak-check.ts";
import { COLLECTED, collect, secret, secretTokens } from "./leaks.ts";

const bytes = (from: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (from + 7 * i) % 256);
const identifier = "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA";
const macaroon = must(attenuate(mintMacaroon(new Secret(utf8("k")), identifier), ["actor = account/1"]));
const token = encodeToken(macaroon);

/** A run of its own inside of this one. */
let outer: string | undefined;
let end: () => void;
beforeEach(() => {
  outer = process.env[COLLECTED];
  end = leakCheck();
});
afterEach(() => {
  process.env[COLLECTED] = outer;
});

describe("a run in which a secret is written fails", () => {
  const key = bytes(1);
  const base64 = Buffer.from(key).toString("base64");
  test.each([
    ["hexadecimal", toHex(key)],
    ["base64", base64],
    ["base64url", Buffer.from(key).toString("base64url")],
    ["numbers", JSON.stringify([...key])],
    ["what Node shows of bytes", `Uint8Array(32) [ ${[...key].join(", ")} ]`],
    ["a longer text", `xx${toHex(key)}yy`],
    ["an object", JSON.stringify({ error: { key: base64 } })],
  ])("as %s", (_, text) => {
    secret("a root key", key);
    collect("a node", `{"event":"x","detail":${JSON.stringify(text)}}`);
    expect(end).toThrow("1 secrets were written (law 7)\na root key, written by a node: ");
  });

  test.each([
    ["the whole token", token],
    ["its end", token.slice(-40)],
    ["its signature", toHex(macaroon.signature)],
  ])("as %s", (_, text) => {
    secretTokens(`here it is: ${token}\n`);
    collect("a node", `refused: ${text}`);
    expect(end).toThrow("law 7");
  });

  test("as a token that no test has told of", () => {
    collect("a node", `refused: ${token}`);
    expect(end).toThrow("a whole token, written by a node");
  });
});

test("a run in which none is written does not, whatever else is", () => {
  secret("a root key", bytes(1));
  secretTokens(token);
  collect("a node", JSON.stringify({ request_id: toHex(bytes(2)), signer: toHex(bytes(3)), token: "pst_…" }));
  collect("a node", [...bytes(4)].join(", "));
  expect(end).not.toThrow();
});
