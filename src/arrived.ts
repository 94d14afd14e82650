/**
 * A request as it arrived: what its signature is checked over, and what a refusal shows of it.
 *
 * A proxy that rewrites host, path or headers makes a signature fail, and neither side alone can say by what. The gate
 * shows what it got, without verifying anything more, and the caller, who knows what he signed, names the difference.
 */
import { EDGE_HEADER, HOPS_HEADER, REMAINING_HEADER } from "./cluster/forward.ts";
import type { Code, Refusal } from "./errors.ts";
import { type PassedOn, readPassedOn } from "./request/headers.ts";
import { shown } from "./request/received.ts";
import type { SignedMessage } from "./request/signature-base.ts";

/** By way of which other node it came, if any. Refusal: `malformed_request`. */
export function passedOnOf({ headers }: Request): PassedOn | Refusal {
  return readPassedOn(headers.get(HOPS_HEADER), headers.get(REMAINING_HEADER), headers.get(EDGE_HEADER));
}

/** As the caller has addressed it: this node, one that has passed the call on, or an edge node that says so. */
export function addressedUrl({ url }: Request, { edge }: PassedOn): URL | null {
  const arrived = URL.parse(url);
  if (arrived === null || edge === undefined) return arrived;
  const addressed = URL.parse(`${arrived.protocol}//${edge.authority}${arrived.pathname}${arrived.search}`);
  return addressed?.host === edge.authority ? addressed : null;
}

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
export function asArrived(refusal: Refusal, request: Request, url = URL.parse(request.url)): Refusal {
  if (url === null || !OF_THE_WAY.has(refusal.code) || refusal.facts.challenge !== undefined) return refusal;
  return refusal.with({ received: shown(messageOf(request, url)) });
}
