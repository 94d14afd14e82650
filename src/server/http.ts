/** The node's HTTP server: bounded, with problem documents also for what is no HTTP, and an end that lets calls finish. */
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { getRequestListener, type Http2Bindings, type HttpBindings } from "@hono/node-server";
import { toHex } from "../bytes.ts";
import { refuse, toProblem } from "../errors.ts";
import { DRAIN_GRACE_MS, HEADERS_BYTES_MAX, RECEIVE_TIMEOUT_MS } from "../limits.ts";
import { problemResponse } from "../record/reply.ts";

/** @param fetch gets the address at the other end of the socket, too */
export function createHttp(
  fetch: (request: Request, peer: string | undefined) => Response | Promise<Response>,
): Server {
  const handle = (request: Request, { incoming }: HttpBindings | Http2Bindings) =>
    fetch(request, incoming.socket.remoteAddress);
  const listener = getRequestListener(handle, {
    errorHandler: () =>
      problemResponse(refuse("malformed_request", "the request cannot be read"), toHex(randomBytes(8))),
  });
  const bounds = { maxHeaderSize: HEADERS_BYTES_MAX, requestTimeout: RECEIVE_TIMEOUT_MS };
  const http = createServer(bounds, (request, response) => void listener(request, response));
  http.on("clientError", refuseUnreadable);
  return http;
}

/** Throws where the address cannot be listened on. */
export function listen(http: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once("error", reject);
    http.listen(port, host, resolve);
  });
}

/** Where the server listens, and the hosts that this means, loopback under all its names. */
export function addressOf(http: Server): { readonly url: string; readonly authorities: readonly string[] } {
  const { address, family, port } = http.address() as AddressInfo;
  const url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  // By way of a URL, as a request's host is read: port 80 is not written.
  const authorities = ["127.0.0.1", "localhost", "[::1]", new URL(url).hostname].map(
    (host) => new URL(`http://${host}:${port}`).host,
  );
  return { url, authorities };
}

/** Lets requests in flight finish, then cuts what is left. */
export async function closeHttp(http: Server): Promise<void> {
  const closed = new Promise((resolve) => http.close(resolve));
  const deadline_ms = performance.now() + DRAIN_GRACE_MS;
  for (;;) {
    const done = await Promise.race([closed.then(() => true), setTimeout(50, false)]);
    if (done) return;
    if (performance.now() > deadline_ms) http.closeAllConnections();
    // A connection that was busy when the server closed becomes idle later, and would stay.
    else http.closeIdleConnections();
  }
}

/** What Node's parser refuses gets a problem document too. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === "HPE_HEADER_OVERFLOW"
      ? refuse("too_large", `the request's headers have more than ${HEADERS_BYTES_MAX} bytes`)
      : refuse("malformed_request", "the request is not HTTP/1.1, or did not arrive in time");
  const body = JSON.stringify(toProblem(refusal, toHex(randomBytes(8))));
  const head = [
    `HTTP/1.1 ${refusal.status} Refused`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
