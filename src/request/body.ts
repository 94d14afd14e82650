/**
 * The body, whole and bounded: it is held in memory because its digest is signed.
 */
import { concatAll } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import { BODY_BYTES_MAX } from "../limits.ts";
import { requireJson } from "./headers.ts";

/** What the headers announce, refused before anything costly is done for it. */
export function refuseAnnounced({ method, headers }: Request): Refusal | undefined {
  const length = Number(headers.get("content-length") ?? 0);
  if (length > BODY_BYTES_MAX) return tooLarge(BODY_BYTES_MAX);
  if (method === "POST") return requireJson(headers.get("content-type"));
  return length > 0 ? refuse("malformed_request", `a ${method} has no body`) : undefined;
}

/** Refusals: `too_large` before the excess is read; `malformed_request` where the sender stopped half way. */
export async function readBody(request: Request, bytesMax = BODY_BYTES_MAX): Promise<Uint8Array | Refusal> {
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of request.body) {
      length += chunk.length;
      if (length > bytesMax) return tooLarge(bytesMax);
      chunks.push(chunk);
    }
  } catch {
    return refuse("malformed_request", "the body ended before it was whole");
  }
  return concatAll(chunks);
}

function tooLarge(bytesMax: number): Refusal {
  return refuse("too_large", `a body has at most ${bytesMax} bytes`);
}
