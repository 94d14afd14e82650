/** HTTP by hand: bytes to a socket, bytes back, for requests that no client library would send. */
import { connect } from "node:net";
import type { SignedRequest } from "../../src/sdk/client.ts";

export interface RawResponse {
  /** 0 where the server closed the connection without an answer. */
  readonly status: number;
  readonly body: string;
}

/** How long the server may be silent before we end our side: it may wait for bytes that will never come. */
const SILENCE_MS = 150;

/** Sends the bytes and reads until the server has answered or closed. */
export function exchange(url: string, bytes: Uint8Array): Promise<RawResponse> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      socket.write(bytes);
      // Not before: on a busy machine connecting takes long, too.
      socket.setTimeout(SILENCE_MS, () => socket.end());
    });
    let received = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      received += chunk;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      // The server may close while we still send: what it said before counts.
      if (error.code !== "ECONNRESET" && error.code !== "EPIPE") reject(error);
    });
    socket.on("close", () => resolve(parse(received)));
  });
}

function parse(received: string): RawResponse {
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1] ?? 0);
  const body = received.slice(received.indexOf("\r\n\r\n") + 4);
  return { status, body };
}

/** The request as it goes over the wire; `connection: close`, so that one answer ends it. */
export function wire(
  { url, method, headers, body }: SignedRequest,
  extra: readonly string[] = [],
): Uint8Array {
  const { host, pathname } = new URL(url);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const own = [`host: ${host}`, `content-length: ${body.length}`, "connection: close"];
  const head = [`${method} ${pathname} HTTP/1.1`, ...own, ...lines, ...extra].join("\r\n");
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), body]);
}
