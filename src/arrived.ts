/**
 * A request as it arrived: what its signature is checked over, and what a refusal shows of it.
 *
 * A proxy that rewrites host, path or headers makes a signature fail, and neither side alone can say by what. The gate
 * shows what it got, without verifying anything more, and the caller, who knows what he signed, names the difference.
 */
import type { Code, Refusal } from "./errors.ts";
import { shown } from "./request/received.ts";
import type { SignedMessage } from "./request/signature-base.ts";

/** What of the request is signed. */
export function messageOf(request: Request, url: URL): SignedMessage {
  return {
    method: request.method,
    authority: url.host,
    path: url.pathname,
    query: url.search === "" ? "?" : url.search,
    field: (name) => request.headers.get(name),
  };
}

/** Refusals that a proxy may have caused. */
const OF_THE_WAY: ReadonlySet<Code> = new Set([
  "malformed_request",
  "token_malformed",
  "token_truncated",
  "token_invalid",
  "signature_missing",
  "signature_invalid",
]);

/** With what arrived, where that may help. A challenge says what is wrong by itself. */
export function asArrived(refusal: Refusal, request: Request): Refusal {
  const url = URL.parse(request.url);
  if (url === null || !OF_THE_WAY.has(refusal.code) || refusal.facts.challenge !== undefined) return refusal;
  return refusal.with({ received: shown(messageOf(request, url)) });
}
