/** Requests to the nodes of the cluster, by the platform's `fetch`. It cannot tell what was sent from what was not. */
import type { Send } from "../cluster/forward.ts";

/** Fields that `fetch` writes itself, and those by which the platform tells its worker of the caller. */
const OF_THE_PLATFORM = /^(?:host|cf-.*)$/;

/** @param fetch the platform's */
export function fetchSender(fetch: (url: string, init: RequestInit) => Promise<Response>): Send {
  return async ({ url, method, headers, body, timeout_ms }) => {
    const kept = Object.entries(headers).filter(([name]) => !OF_THE_PLATFORM.test(name));
    const signal = AbortSignal.timeout(timeout_ms);
    const sent = method === "GET" || method === "HEAD" ? null : new Uint8Array(body);
    try {
      const response = await fetch(url, { method, headers: kept, body: sent, redirect: "manual", signal });
      if (isOfThePlatform(response)) return { failed: "unclear" };
      const bytes = new Uint8Array(await response.arrayBuffer());
      return { status: response.status, headers: Object.fromEntries(response.headers), body: bytes };
    } catch {
      return { failed: "unclear" };
    }
  };
}

/** Cloudflare answers 520 to 530 where it did not reach the node, or did not understand it. A node names its requests. */
function isOfThePlatform({ status, headers }: Response): boolean {
  return status >= 520 && status <= 530 && !headers.has("request-id");
}
