/**
 * RFC 9421 as others read it: `http-message-sig` composes, signs and verifies the same requests.
 *
 * It knows nothing of Postern: the components, the parameters and, for BIP-340, the algorithm are given to it.
 */
import { createSignature, type Signer as TheirSigner, verifySignature } from "http-message-sig";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromUtf8, toBase64url, utf8 } from "../../src/bytes.ts";
import { contentDigest } from "../../src/request/digest.ts";
import { composeSignature } from "../../src/request/signature-base.ts";
import { signBatch, signCall, signDescribe } from "../../src/sdk/client.ts";
import { bip340 } from "../../src/signature/bip340.ts";
import { ed25519 } from "../../src/signature/ed25519.ts";
import { HolderSignatures, holderSigner, newHolder, requestMessage } from "../../src/signature/holder.ts";
import type { Signer } from "../../src/signature/scheme.ts";
import { freshAccount, inOneHour, mintToken, random, startGate, type TestGate } from "../support/gate.ts";
import { FIELDS, messageOf, PARAMETERS, PARTS } from "./message.ts";

const COMPONENTS = ["@method", "@authority", "@path", "@query", "authorization", "content-digest"];
const ALG = { bip340: "bip340-secp256k1-sha256", ed25519: "ed25519" } as const;
const SCHEMES = ["bip340", "ed25519"] as const;

/** Signs for them as Postern's holders do, and keeps the bases that it was given. */
function theirs(alg: string, { publicKey, sign }: Signer, bases: string[] = []): TheirSigner {
  return {
    algorithm: alg,
    sign(data) {
      const base = fromUtf8(data) ?? "";
      bases.push(base);
      return sign(requestMessage(publicKey, base));
    },
  };
}

function holder(scheme: (typeof SCHEMES)[number]): Signer {
  const signer = holderSigner(newHolder(scheme, random).secret, random);
  if (signer === undefined) throw new Error("no key");
  return signer;
}

describe.each(SCHEMES)("with %s", (scheme) => {
  const alg = ALG[scheme];
  const signer = holder(scheme);

  it("they compose the same base and the same Signature-Input", async () => {
    const parameters = { ...PARAMETERS, keyid: signer.publicKey };
    const { created, expires, nonce, keyid } = parameters;
    const bases: string[] = [];
    const { signatureInput } = await createSignature(
      {
        kind: "request",
        method: PARTS.method,
        targetUri: `https://${PARTS.authority}${PARTS.path}`,
        fields: Object.entries(FIELDS).map(([name, value]) => ({ name, value })),
      },
      {
        label: "sig",
        components: [...COMPONENTS, "idempotency-key"],
        parameters: { created, expires, nonce, keyid, alg, tag: "postern" },
        signer: theirs(alg, signer, bases),
      },
    );
    const ours = composeSignature(messageOf(PARTS), parameters);
    expect(bases).toEqual([ours.base]);
    expect(signatureInput).toBe(`sig=${ours.input}`);
  });

  it("they verify what the SDK signs, and nothing that was changed", async () => {
    const caller = {
      url: "https://gate.example:8443",
      token: "pst_AAAA",
      signer,
      now_ms: () => Date.now(),
      random,
    };
    const where = { tenant: "demo", actor: "account/1" };
    const signatures = new HolderSignatures(bip340, ed25519);
    const accepts = async (request: Request): Promise<boolean> => {
      const verified = verifySignature(request, {
        label: "sig",
        policy: {
          algorithms: [alg],
          requiredComponents: COMPONENTS,
          requiredParameters: ["created", "expires", "nonce", "keyid", "alg", "tag"],
        },
        resolveVerifier: ({ parameters }) => ({
          algorithm: alg,
          verify: (data, signature) =>
            signatures.verifyRequest(String(parameters.keyid), fromUtf8(data) ?? "", signature),
        }),
      });
      return verified.then(
        () => true,
        () => false,
      );
    };
    for (const { url, ...init } of [
      signCall(caller, { ...where, message: "open", args: { owner: "Ada" } }),
      signBatch(caller, { ...where, calls: [{ message: "close" }] }),
      signDescribe(caller, where),
    ]) {
      const { method, headers } = init;
      expect(await accepts(new Request(url, { method, headers }))).toBe(true);
      expect(await accepts(new Request(`${url}?`, { method, headers }))).toBe(true);
      expect(await accepts(new Request(`${url}x`, { method, headers }))).toBe(false);
      expect(await accepts(new Request(`${url}?x`, { method, headers }))).toBe(false);
      expect(await accepts(new Request(url, { method: "PUT", headers }))).toBe(false);
      expect(await accepts(new Request(url, { method, headers: { ...headers, authorization: "x" } }))).toBe(
        false,
      );
    }
  });
});

describe("a gate", () => {
  let gate: TestGate;
  beforeAll(async () => {
    gate = await startGate();
  });
  afterAll(() => gate.end());

  /** `open` of a fresh account, signed by them over these components. @param body what is sent in the end */
  async function answerTo(
    signer: Signer,
    alg: string,
    components: readonly string[],
    body = '{"owner":"Ada"}',
  ) {
    const actor = freshAccount();
    const token = mintToken(gate.key, [`actor = ${actor}`, inOneHour(), `holder = ${signer.publicKey}`]);
    const headers = new Headers({
      authorization: `Macaroon ${token}`,
      "content-type": "application/json",
      "content-digest": contentDigest(utf8('{"owner":"Ada"}')),
    });
    const url = `${gate.server.url}/v1/demo/${actor}/open`;
    const created = Math.floor(Date.now() / 1000);
    const { signature, signatureInput } = await createSignature(
      new Request(url, { method: "POST", headers }),
      {
        label: "theirs",
        components,
        parameters: {
          tag: "postern",
          keyid: signer.publicKey,
          alg,
          nonce: toBase64url(random(16)),
          expires: created + 30,
          created,
        },
        signer: theirs(alg, signer),
      },
    );
    headers.set("signature", signature);
    headers.set("signature-input", signatureInput);
    headers.set("content-digest", contentDigest(utf8(body)));
    const response = await fetch(url, { method: "POST", headers, body });
    return { status: response.status, answer: (await response.json()) as unknown };
  }

  it.each(SCHEMES)("takes what they sign with %s", async (scheme) => {
    expect(await answerTo(holder(scheme), ALG[scheme], COMPONENTS.toReversed())).toEqual({
      status: 200,
      answer: { balance: 0 },
    });
  });

  const TOO_LITTLE: readonly (readonly [what: string, components: readonly string[]])[] = [
    ["nothing", []],
    ...COMPONENTS.map((left) => [`all but ${left}`, COMPONENTS.filter((name) => name !== left)] as const),
  ];
  it.each(TOO_LITTLE)("refuses a signature that verifies and covers %s", async (_, components) => {
    expect(await answerTo(holder("ed25519"), ALG.ed25519, components)).toMatchObject({
      status: 401,
      answer: { code: "signature_invalid", detail: expect.stringContaining("does not cover") },
    });
  });

  it("refuses another body under a Content-Digest that is there, right, and not covered", async () => {
    const uncovered = COMPONENTS.filter((name) => name !== "content-digest");
    expect(await answerTo(holder("ed25519"), ALG.ed25519, uncovered, '{"owner":"Eve"}')).toMatchObject({
      status: 401,
      answer: { code: "signature_invalid", detail: "the signature does not cover content-digest" },
    });
  });
});
