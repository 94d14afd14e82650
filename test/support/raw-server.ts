/** A server of bytes: keeps what arrives on each connection, and answers with what a test says. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

export interface RawServer {
  readonly url: string;
  /** What has arrived so far, over all connections. */
  received(): Buffer;
  /** Connections that were opened. */
  connections(): number;
  end(): Promise<void>;
}

/**
 * @param answer told each time that bytes have arrived, with all that the connection has brought since the last answer;
 *   returns whether that was answered
 */
export async function startRawServer(
  answer: (socket: Socket, request: Buffer) => boolean,
): Promise<RawServer> {
  const all: Buffer[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    let request = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      all.push(chunk);
      request = Buffer.concat([request, chunk]);
      if (answer(socket, request)) request = Buffer.alloc(0);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    received: () => Buffer.concat(all),
    connections: () => connections,
    end: async () => {
      for (const socket of sockets) socket.destroy();
      await once(server.close(), "close");
    },
  };
}

/** Whether these bytes are a whole request with a `content-length`. */
export function isWhole(request: Buffer): boolean {
  const headEnd = request.indexOf("\r\n\r\n");
  if (headEnd < 0) return false;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(request.toString("latin1", 0, headEnd))?.[1] ?? 0);
  return request.length >= headEnd + 4 + length;
}

/** One answer on a connection that stays open. */
export function reply(head: readonly string[], body: string | Uint8Array = ""): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([
    Buffer.from(`${[...head, `content-length: ${bytes.length}`].join("\r\n")}\r\n\r\n`, "latin1"),
    bytes,
  ]);
}
