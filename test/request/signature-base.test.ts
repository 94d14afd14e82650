import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import {
  composeSignature,
  readSignature,
  type SignatureParameters,
} from "../../src/request/signature-base.ts";
import { outcome, refused, taken } from "../token/outcome.ts";
import {
  FIELDS,
  messageOf,
  PARAMETERS,
  PARTS,
  type Parts,
  SIGNATURE,
  signedMessage,
  withSignature,
} from "./message.ts";

const COMPONENTS =
  '"@method" "@authority" "@path" "@query" "authorization" "content-digest" "idempotency-key"';
const ALL_PARAMETERS =
  ';created=1700000000;expires=1700000030;nonce="AAECAwQFBgcICQoLDA0ODw"' +
  `;keyid="${"a1".repeat(32)}";alg="bip340-secp256k1-sha256";tag="postern"`;
const INPUT = `sig=(${COMPONENTS})${ALL_PARAMETERS}`;

/** Signature-Input with its list of components, or its parameters, changed. */
const readInput = (input: string) => readSignature(withSignature(input, `sig=${SIGNATURE}`));
const readComponents = (components: string) => readInput(`sig=(${components})${ALL_PARAMETERS}`);
const readParameters = (from: string | RegExp, to: string) => readInput(INPUT.replace(from, to));

const anyField = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
const anyParts: fc.Arbitrary<Parts> = fc.record({
  method: fc.constantFrom("POST", "GET"),
  authority: fc.stringMatching(/^[a-z0-9.-]{1,20}(:\d{1,5})?$/),
  path: fc.stringMatching(/^\/[!->@-~]{0,30}$/),
  query: fc.stringMatching(/^\?[!-~]{0,20}$/),
  fields: fc.record(
    { authorization: anyField, "content-digest": anyField, "idempotency-key": anyField },
    { requiredKeys: ["authorization", "content-digest"] },
  ),
});
const anySeconds = fc.integer({ min: 0, max: 999_999_999_999_999 });
const anyParameters: fc.Arbitrary<SignatureParameters> = fc.record({
  created: anySeconds,
  expires: anySeconds,
  nonce: fc.stringMatching(/^[A-Za-z0-9+/=_-]{16,64}$/),
  keyid: fc.stringMatching(/^(ed25519:)?[0-9a-f]{64}$/),
});

describe("the signature base is RFC 9421's (section 2.5)", () => {
  const EXAMPLE = [
    '"@method": POST',
    '"@authority": gate.example:8443',
    '"@path": /v1/demo/account/alice/deposit',
    '"@query": ?',
    '"authorization": Macaroon pst_AAAA',
    '"content-digest": sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:',
    '"idempotency-key": "k-1"',
    `"@signature-params": (${COMPONENTS})${ALL_PARAMETERS}`,
  ].join("\n");

  test("line by line, for the signer and for the gate", () => {
    const composed = composeSignature(messageOf(PARTS), PARAMETERS);
    expect(composed).toEqual({ base: EXAMPLE, input: INPUT.slice("sig=".length) });
    expect(taken(readSignature(signedMessage())).base).toBe(EXAMPLE);
  });

  test("without an idempotency key, there is no line for it", () => {
    const { "idempotency-key": _, ...fields } = FIELDS;
    const { base } = composeSignature(messageOf({ ...PARTS, fields }), PARAMETERS);
    expect(base).toBe(EXAMPLE.replace('"idempotency-key": "k-1"\n', "").replace(' "idempotency-key"', ""));
  });

  test("components and parameters stand in the order in which the signer gave them", () => {
    const components = COMPONENTS.split(" ").toReversed().join(" ");
    const { base } = taken(readComponents(components));
    expect(base.split("\n").map((line) => line.split(":")[0])).toEqual([
      ...components.split(" "),
      '"@signature-params"',
    ]);
    const parameters = ALL_PARAMETERS.split(";").slice(1).toReversed().join(";");
    expect(taken(readInput(`sig=(${COMPONENTS});${parameters}`)).base).toContain(parameters);
  });
});

describe("signer and gate agree", () => {
  test("on every base and every parameter", () => {
    fc.assert(
      fc.property(anyParts, anyParameters, (parts, parameters) => {
        const { base } = composeSignature(messageOf(parts), parameters);
        const { signature, ...read } = taken(readSignature(signedMessage(parts, parameters)));
        expect(read).toEqual({ ...parameters, base });
        expect(signature).toEqual(new Uint8Array(64).fill(7));
      }),
      { numRuns: 500 },
    );
  });

  test("whatever of the message is changed, the base is another one, or there is none", () => {
    fc.assert(
      fc.property(anyParts, anyParts, anyParameters, (parts, others, parameters) => {
        const sent = signedMessage(parts, parameters);
        const { base } = taken(readSignature(sent));
        for (const name of ["method", "authority", "path", "query"] as const) {
          if (parts[name] === others[name]) continue;
          expect(taken(readSignature({ ...sent, [name]: others[name] })).base).not.toBe(base);
        }
        for (const name of ["authorization", "content-digest", "idempotency-key"] as const) {
          const value = others.fields[name] ?? null;
          if (value === sent.field(name)) continue;
          const changed = readSignature({ ...sent, field: (n) => (n === name ? value : sent.field(n)) });
          expect(isRefusal(changed) || changed.base !== base).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("different messages or parameters never have one base", () => {
    fc.assert(
      fc.property(anyParts, anyParts, anyParameters, anyParameters, (parts, others, these, those) => {
        const same = JSON.stringify([parts, these]) === JSON.stringify([others, those]);
        const [one, other] = [
          composeSignature(messageOf(parts), these),
          composeSignature(messageOf(others), those),
        ];
        expect(one.base === other.base).toBe(same);
      }),
    );
  });
});

describe("exactly the profile's components are covered", () => {
  test.each(COMPONENTS.split(" "))("without %s", (component) => {
    const rest = COMPONENTS.split(" ").filter((other) => other !== component);
    expect(refused(readComponents(rest.join(" ")))).toMatchObject({
      code: "signature_invalid",
      detail: `the signature does not cover ${component.replaceAll('"', "")}`,
    });
  });

  test.each([
    ["one more", `${COMPONENTS} "content-type"`],
    ["one twice", `${COMPONENTS} "@method"`],
    ["none", ""],
    ["another instead", COMPONENTS.replace("@path", "@target-uri")],
    ["in capitals", COMPONENTS.replace("authorization", "Authorization")],
    ["as a token", COMPONENTS.replace('"authorization"', "authorization")],
    ["as bytes", COMPONENTS.replace('"authorization"', ":YXV0aG9yaXphdGlvbg==:")],
    ["with ;req", COMPONENTS.replace('"@method"', '"@method";req')],
    ["with ;sf", COMPONENTS.replace('"content-digest"', '"content-digest";sf')],
    ["with ;key", COMPONENTS.replace('"content-digest"', '"content-digest";key="sha-256"')],
    ["with ;bs", COMPONENTS.replace('"authorization"', '"authorization";bs')],
    ["with a parameter that is false", COMPONENTS.replace('"@path"', '"@path";tr=?0')],
  ])("%s is refused", (_, components) => {
    expect(outcome(readComponents(components))).toBe("signature_invalid");
  });

  test("an idempotency key that was sent is covered, one that was not is not", () => {
    const { "idempotency-key": _, ...fields } = FIELDS;
    const without = COMPONENTS.replace(' "idempotency-key"', "");
    const read = (components: string, parts: Parts) =>
      outcome(
        readSignature(withSignature(`sig=(${components})${ALL_PARAMETERS}`, `sig=${SIGNATURE}`, parts)),
      );
    expect(read(without, PARTS)).toBe("signature_invalid");
    expect(read(COMPONENTS, { ...PARTS, fields })).toBe("signature_invalid");
    expect(read(without, { ...PARTS, fields })).toBe("taken");
  });
});

describe("exactly the profile's parameters are there", () => {
  test.each(["created", "expires", "nonce", "keyid", "alg"])("without %s", (name) => {
    expect(outcome(readParameters(new RegExp(`;${name}=[^;]*`), ""))).toBe("signature_invalid");
  });

  test.each([
    ["a parameter that is not known", ";tag=", ";x=1;tag="],
    ["a flag that is not known", ";tag=", ";x;tag="],
    ["another alg", "bip340-secp256k1-sha256", "hmac-sha256"],
    ["alg in capitals", "bip340-secp256k1-sha256", "BIP340-secp256k1-sha256"],
    ["alg as a token", '"bip340-secp256k1-sha256"', "bip340-secp256k1-sha256"],
    ["alg of another key", "bip340-secp256k1-sha256", "ed25519"],
    ["a keyid of another alg", "a1".repeat(32), `ed25519:${"a1".repeat(32)}`],
    ["created with a fraction", "created=1700000000", "created=1700000000.5"],
    ["created as text", "created=1700000000", 'created="1700000000"'],
    ["created before 1970", "created=1700000000", "created=-1"],
    ["created as a flag", "created=1700000000", "created"],
    ["expires with a fraction", "expires=1700000030", "expires=1700000030.25"],
    ["expires as a boolean", "expires=1700000030", "expires=?1"],
    ["a nonce that is too short", /nonce="[^"]*"/, `nonce="${"A".repeat(15)}"`],
    ["a nonce that is too long", /nonce="[^"]*"/, `nonce="${"A".repeat(65)}"`],
    ["a nonce of other characters", /nonce="[^"]*"/, 'nonce="AAECAwQFBgcICQoL DA0"'],
    ["a nonce as bytes", /nonce="[^"]*"/, "nonce=:AAECAwQFBgcICQoLDA0ODw==:"],
    ["a keyid in capitals", "a1".repeat(32), "A1".repeat(32)],
    ["a keyid of 63 digits", "a1".repeat(32), `${"a1".repeat(31)}a`],
    ["a keyid with its parity byte", "a1".repeat(32), `02${"a1".repeat(32)}`],
    ["a keyid as a token", `"${"a1".repeat(32)}"`, "a1".repeat(32)],
  ])("%s", (_, from, to) => {
    expect(outcome(readParameters(from, to))).toBe("signature_invalid");
  });

  test("nonces of 16 and of 64 characters are taken", () => {
    for (const length of [16, 64])
      expect(taken(readParameters(/nonce="[^"]*"/, `nonce="${"A".repeat(length)}"`)).nonce).toHaveLength(
        length,
      );
  });
});

describe("exactly one signature is Postern's", () => {
  const other = `other=("@method");created=1;keyid="k";tag="someone"`;

  test("among signatures of others", () => {
    const message = withSignature(`${other}, ${INPUT}`, `other=:AAAA:, sig=${SIGNATURE}`);
    expect(taken(readSignature(message)).keyid).toBe(PARAMETERS.keyid);
  });

  test("under any label", () => {
    const message = withSignature(INPUT.replace(/^sig/, "my-label.1"), `my-label.1=${SIGNATURE}`);
    expect(outcome(readSignature(message))).toBe("taken");
  });

  test.each([
    ["two of ours", `${INPUT}, ${INPUT.replace(/^sig/, "two")}`, `sig=${SIGNATURE}, two=${SIGNATURE}`],
    ["none of ours", other, "other=:AAAA:"],
    ["another tag", INPUT.replace('"postern"', '"postern2"'), `sig=${SIGNATURE}`],
    ["the tag as a token", INPUT.replace('"postern"', "postern"), `sig=${SIGNATURE}`],
    ["no tag", INPUT.replace(';tag="postern"', ""), `sig=${SIGNATURE}`],
    ["the tag on an item, not on a list", 'sig="@method";tag="postern"', `sig=${SIGNATURE}`],
    ["no dictionary", "((", `sig=${SIGNATURE}`],
    ["a list that does not end", INPUT.replace(")", ""), `sig=${SIGNATURE}`],
    ["a trailing comma", `${INPUT},`, `sig=${SIGNATURE}`],
    ["a label in capitals", INPUT.replace(/^sig/, "Sig"), `sig=${SIGNATURE}`],
    ["characters beyond ASCII", INPUT.replace("AAEC", "é"), `sig=${SIGNATURE}`],
    ["Signature is no dictionary", INPUT, `sig=${SIGNATURE.slice(0, -1)}`],
    ["Signature has foreign characters", INPUT, "sig=:****:"],
    ["an empty Signature-Input", "", `sig=${SIGNATURE}`],
  ])("%s: there is no signature", (_, input, signature) => {
    expect(outcome(readSignature(withSignature(input, signature)))).toBe("signature_missing");
  });

  test.each([
    ["of another label", `two=${SIGNATURE}`],
    ["of no label", ""],
    ["of 63 bytes", `sig=:${Buffer.alloc(63).toString("base64")}:`],
    ["of 65 bytes", `sig=:${Buffer.alloc(65).toString("base64")}:`],
    ["of no bytes", "sig=::"],
    ["as text", `sig="${"A".repeat(64)}"`],
    ["as a flag", "sig"],
    ["as a list", `sig=(${SIGNATURE})`],
    ["without padding", `sig=${SIGNATURE.replace(/=+:$/, ":")}`],
    ["with bits behind the last byte", `sig=${SIGNATURE.replace(/.==:$/, "x==:")}`],
  ])("bytes %s: the signature is invalid", (_, signature) => {
    expect(outcome(readSignature(withSignature(INPUT, signature)))).toBe("signature_invalid");
  });

  test.each(["signature", "signature-input"])("without %s", (name) => {
    const message = signedMessage();
    const without = {
      ...message,
      field: (other_: string) => (other_ === name ? null : message.field(other_)),
    };
    expect(outcome(readSignature(without))).toBe("signature_missing");
  });

  test("whatever the fields say, they are read or refused, and nothing throws", () => {
    const anyScrap = fc.string({ unit: fc.constantFrom(...'sig=(")@;:,?%é\\ 1.-'), maxLength: 30 });
    fc.assert(
      fc.property(anyScrap, anyScrap, fc.nat({ max: INPUT.length }), (scrap, signature, at) => {
        for (const input of [scrap, INPUT.slice(0, at) + scrap + INPUT.slice(at)]) {
          const result = outcome(readSignature(withSignature(input, `sig=${SIGNATURE}, ${signature}`)));
          expect(["taken", "signature_missing", "signature_invalid"]).toContain(result);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
