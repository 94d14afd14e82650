/** A signed HEAD of an actor, which the SDK does not write. */
import { toBase64url } from "../../src/bytes.ts";
import { contentDigest } from "../../src/request/digest.ts";
import { composeSignature } from "../../src/request/signature-base.ts";
import type { Caller } from "../../src/sdk/client.ts";
import { requestMessage } from "../../src/signature/holder.ts";
import { random } from "./gate.ts";

export function headHeaders({ url, token, signer }: Caller, actor: string): Record<string, string> {
  const { host } = new URL(url);
  const fields: Record<string, string> = {
    authorization: `Macaroon ${token}`,
    "content-digest": contentDigest(new Uint8Array()),
  };
  const created = Math.floor(Date.now() / 1000);
  const { base, input } = composeSignature(
    {
      method: "HEAD",
      authority: host,
      path: `/v1/demo/${actor}`,
      query: "?",
      field: (name) => fields[name] ?? null,
    },
    { created, expires: created + 30, nonce: toBase64url(random(16)), keyid: signer.publicKey },
  );
  const signature = signer.sign(requestMessage(signer.publicKey, base));
  const encoded = Buffer.from(signature).toString("base64");
  return { ...fields, "signature-input": `sig=${input}`, signature: `sig=:${encoded}:` };
}
