import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { checkContentDigest } from "../../src/request/digest.ts";
import {
  readAuthorization,
  readIdempotencyKey,
  readTimeout,
  requireJson,
} from "../../src/request/headers.ts";
import { readSignature } from "../../src/request/signature-base.ts";
import { readTarget } from "../../src/request/target.ts";
import { type Caller, type CallInput, type SignedRequest, signCall } from "../../src/sdk/client.ts";
import { Secret } from "../../src/secret.ts";
import { bip340, bip340Signer } from "../../src/signature/bip340.ts";
import { ed25519, ed25519Signer } from "../../src/signature/ed25519.ts";
import { refuseStale } from "../../src/signature/freshness.ts";
import { HolderSignatures } from "../../src/signature/holder.ts";
import { outcome, taken } from "../token/outcome.ts";

const NOW_MS = 1_700_000_000_999;
const caller: Caller = {
  url: "https://GATE.example:8443",
  token: "pst_AAAA",
  signer: bip340Signer(new Secret(new Uint8Array(32).fill(1)), () => new Uint8Array(32)),
  now_ms: () => NOW_MS,
  random: (length) => new Uint8Array(length).fill(5),
};
const call: CallInput = { tenant: "demo", actor: "account/alice", message: "deposit", args: { amount: 5 } };

/** As the gate reads it: the request, without a gate. */
function isSignedRight({ url, method, headers }: SignedRequest): boolean {
  const { host, pathname } = new URL(url);
  const field = (name: string) => headers[name] ?? null;
  const read = readSignature({ method, authority: host, path: pathname, query: "?", field });
  if (isRefusal(read)) return false;
  const { keyid, base, signature } = read;
  return new HolderSignatures(bip340, ed25519).verifyRequest(keyid, base, signature);
}

describe("what the SDK signs, the gate reads", () => {
  test("every part of it, for every call", () => {
    const anyCall = fc.record({
      tenant: fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/),
      type: fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/),
      id: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,9}$/),
      message: fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/),
      idempotencyKey: fc.stringMatching(/^[ !#-[\]-~]{1,20}$/).filter((key) => key.trim() !== ""),
      timeout_ms: fc.integer({ min: 1, max: 300_000 }),
      args: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
    });
    fc.assert(
      fc.property(anyCall, ({ type, id, ...rest }) => {
        const request = signCall(caller, { ...rest, actor: `${type}/${id}` });
        const field = (name: string) => request.headers[name] ?? null;
        const { tenant, message } = rest;
        expect(readTarget(new URL(request.url))).toEqual({ tenant, type, id, message });
        expect(readAuthorization(field("authorization"))).toBe("pst_AAAA");
        expect(readIdempotencyKey(field("idempotency-key"))).toBe(rest.idempotencyKey);
        expect(readTimeout(field("request-timeout-ms"))).toBe(rest.timeout_ms);
        expect(requireJson(field("content-type"))).toBeUndefined();
        expect(outcome(checkContentDigest(field("content-digest"), request.body))).toBe("taken");
        expect(isSignedRight(request)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test("by the caller's clock, for less than a minute", () => {
    const { headers } = signCall(caller, call);
    const read = taken(
      readSignature({
        method: "POST",
        authority: "gate.example:8443",
        path: "/v1/demo/account/alice/deposit",
        query: "?",
        field: (name) => headers[name] ?? null,
      }),
    );
    expect(read.created).toBe(1_700_000_000);
    expect(refuseStale(read, NOW_MS / 1000)).toBeUndefined();
  });

  test("and nothing that was changed on its way", () => {
    const signed = signCall(caller, call);
    expect(isSignedRight(signed)).toBe(true);
    const changed = (headers: Record<string, string>) => ({
      ...signed,
      headers: { ...signed.headers, ...headers },
    });
    for (const request of [
      { ...signed, url: signed.url.replace("alice", "bob") },
      { ...signed, url: signed.url.replace("8443", "443") },
      { ...signed, method: "PUT" as "POST" },
      changed({ authorization: "Macaroon pst_AAAB" }),
      changed({ "idempotency-key": '"another"' }),
      changed({
        "content-digest": signCall(caller, { ...call, args: { amount: 6 } }).headers["content-digest"] ?? "",
      }),
    ])
      expect(isSignedRight(request)).toBe(false);
  });
});

test("with an Ed25519 key, as RFC 9421 registers it: over the signature base itself", () => {
  const signer = ed25519Signer(new Secret(new Uint8Array(32).fill(1)));
  const signed = signCall({ ...caller, signer }, call);
  expect(signed.headers["signature-input"]).toContain(`keyid="${signer.publicKey}";alg="ed25519"`);
  expect(isSignedRight(signed)).toBe(true);
  const forged = signed.headers["signature-input"]?.replaceAll("ed25519:", "") ?? "";
  expect(isSignedRight({ ...signed, headers: { ...signed.headers, "signature-input": forged } })).toBe(false);
});

test("an idempotency key and a nonce are made where none is given", () => {
  let calls = 0;
  const random = (length: number) => new Uint8Array(length).fill(++calls);
  const [one, other] = [signCall({ ...caller, random }, call), signCall({ ...caller, random }, call)];
  expect(one.headers["idempotency-key"]).not.toBe(other.headers["idempotency-key"]);
  expect(one.headers["signature-input"]).not.toBe(other.headers["signature-input"]);
});
