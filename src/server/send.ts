/** Requests to other nodes, by undici: connections are kept, and what failed is told apart by whether it was sent. */
import { Agent, request } from "undici";
import type { Send } from "../cluster/forward.ts";
import { CONNECT_TIMEOUT_MS } from "../limits.ts";

/** Failures of the connection itself: not a byte of the request has left. */
const UNSENT = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);

export function undiciSender(): { readonly send: Send; readonly close: () => Promise<void> } {
  const dispatcher = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS } });
  const send: Send = async ({ url, method, headers, body, timeout_ms, signal }) => {
    try {
      const response = await request(url, {
        dispatcher,
        method: method as "POST",
        headers,
        body,
        headersTimeout: timeout_ms,
        bodyTimeout: timeout_ms,
        ...(signal && { signal }),
      });
      const bytes = new Uint8Array(await response.body.arrayBuffer());
      return { status: response.statusCode, headers: singleValues(response.headers), body: bytes };
    } catch (error) {
      const { code } = error as { code?: unknown };
      return { failed: typeof code === "string" && UNSENT.has(code) ? "unsent" : "unclear" };
    }
  };
  return { send, close: () => dispatcher.destroy() };
}

function singleValues(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
    ),
  );
}
