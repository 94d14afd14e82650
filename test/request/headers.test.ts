import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IDEMPOTENCY_KEY_LENGTH_MAX, REQUEST_TIMEOUT_MS_MAX } from "../../src/limits.ts";
import {
  readAuthorization,
  readIdempotencyKey,
  readTimeout,
  requireJson,
} from "../../src/request/headers.ts";
import { outcome } from "../token/outcome.ts";

describe("Authorization", () => {
  test.each([
    ["Macaroon pst_AAAA", "pst_AAAA"],
    ["macaroon pst_AAAA", "pst_AAAA"],
    ["MACAROON   pst_AAAA ", "pst_AAAA"],
    ["Macaroon pst_AAAA,pst_BBBB", "pst_AAAA,pst_BBBB"],
    ["Macaroon AgA=", "AgA="],
  ])("%j", (field, token) => {
    expect(readAuthorization(field)).toBe(token);
  });

  test.each([
    null,
    "",
    "Macaroon",
    "Macaroon ",
    "pst_AAAA",
    "Bearer pst_AAAA",
    "Macaroonpst_AAAA",
    "Macaroon a b",
    "Macaroon a, b",
    "Macaroon a, Macaroon b",
    "Basic x, Macaroon a",
    "Macaroon\tpst_AAAA",
    "\u00a0Macaroon pst_AAAA",
    "Macaroon pst_AAAA\u00a0",
  ])("%j is refused", (field) => {
    expect(outcome(readAuthorization(field))).toBe("token_malformed");
  });
});

describe("Idempotency-Key", () => {
  const anyKey = fc.stringMatching(/^[ !#-[\]-~]{1,255}$/);

  test("is what stands between the quotes", () => {
    fc.assert(
      fc.property(anyKey, (key) => {
        expect(readIdempotencyKey(`"${key}"`)).toBe(key);
        expect(readIdempotencyKey(` "${key}" `)).toBe(key);
      }),
    );
  });

  test("has spaces and tabs around it, and nothing else that looks like one", () => {
    for (const space of [" ", "\t", " \t "]) expect(readIdempotencyKey(`${space}"k"${space}`)).toBe("k");
    for (const other of ["\u00a0", "\ufeff", "\u2003", "\v", "\f"])
      for (const field of [`${other}"k"`, `"k"${other}`])
        expect(outcome(readIdempotencyKey(field))).toBe("malformed_request");
  });

  test("need not be sent", () => {
    expect(readIdempotencyKey(null)).toBeUndefined();
  });

  test("has a bound", () => {
    const key = "k".repeat(IDEMPOTENCY_KEY_LENGTH_MAX);
    expect(readIdempotencyKey(`"${key}"`)).toBe(key);
    expect(outcome(readIdempotencyKey(`"${key}k"`))).toBe("malformed_request");
  });

  test.each([
    "",
    '""',
    '"',
    "key",
    "'key'",
    '"a',
    'a"',
    '"a"b"',
    '"a\\"b"',
    '"a\\\\b"',
    '"a", "b"',
    '"a";x=1',
    '"é"',
    '"a\tb"',
    '"a\u007f"',
    "1",
    ":YQ==:",
    '"a"\n"b"',
  ])("%j is refused", (field) => {
    expect(outcome(readIdempotencyKey(field))).toBe("malformed_request");
  });
});

describe("Request-Timeout-Ms", () => {
  test.each([
    [null, REQUEST_TIMEOUT_MS_MAX],
    ["1", 1],
    [" 2500 ", 2500],
    [String(REQUEST_TIMEOUT_MS_MAX), REQUEST_TIMEOUT_MS_MAX],
  ])("%j", (field, timeout_ms) => {
    expect(readTimeout(field)).toBe(timeout_ms);
  });

  test.each([
    "",
    "0",
    "-1",
    "+1",
    "01",
    "1.5",
    "1e3",
    "0x10",
    "1_000",
    "1, 2",
    "ten",
    "Infinity",
    String(REQUEST_TIMEOUT_MS_MAX + 1),
    "9".repeat(20),
  ])("%j is refused", (field) => {
    expect(outcome(readTimeout(field))).toBe("malformed_request");
  });
});

describe("Content-Type", () => {
  test.each([
    "application/json",
    "Application/JSON",
    "application/json;charset=utf-8",
    "application/json; charset=UTF-8",
    'application/json ; charset="utf-8" ',
  ])("%j is JSON", (field) => {
    expect(requireJson(field)).toBeUndefined();
  });

  test.each([
    null,
    "",
    "text/json",
    "text/plain",
    "application/json5",
    "application/jsonx",
    "application/problem+json",
    "application/json, text/plain",
    "application/json; charset=latin1",
    "application/json; charset=utf-8; x=y",
    'application/json; charset="utf-8',
    "application/json;",
    "application/x-www-form-urlencoded",
  ])("%j is refused", (field) => {
    expect(outcome(requireJson(field))).toBe("malformed_request");
  });
});
