/** A call as it is signed, with real values, and what a signature of it looks like on the wire. */
import {
  composeSignature,
  type SignatureParameters,
  type SignedMessage,
} from "../../src/request/signature-base.ts";

export const PARAMETERS: SignatureParameters = {
  created: 1_700_000_000,
  expires: 1_700_000_030,
  nonce: "AAECAwQFBgcICQoLDA0ODw",
  keyid: "a1".repeat(32),
};

export const FIELDS = {
  authorization: "Macaroon pst_AAAA",
  "content-digest": "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:",
  "idempotency-key": '"k-1"',
} as const;

export interface Parts {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly query: string;
  readonly fields: Readonly<Record<string, string>>;
}

export const PARTS: Parts = {
  method: "POST",
  authority: "gate.example:8443",
  path: "/v1/demo/account/alice/deposit",
  query: "?",
  fields: FIELDS,
};

export function messageOf({ fields, ...parts }: Parts): SignedMessage {
  return { ...parts, field: (name) => fields[name] ?? null };
}

/** 64 bytes that no key has made. */
export const SIGNATURE = `:${Buffer.alloc(64, 7).toString("base64")}:`;

/** The message as it is sent: signed over these parts, under the label `sig`. */
export function signedMessage(parts: Parts = PARTS, parameters = PARAMETERS): SignedMessage {
  const { input } = composeSignature(messageOf(parts), parameters);
  return withSignature(`sig=${input}`, `sig=${SIGNATURE}`, parts);
}

export function withSignature(input: string, signature: string, parts: Parts = PARTS): SignedMessage {
  return messageOf({ ...parts, fields: { ...parts.fields, "signature-input": input, signature } });
}
