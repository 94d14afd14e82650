/** Sending to another node over real sockets: what comes back, and when it is certain that nothing was sent. */
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import type { OutgoingRequest, Send } from "../../src/cluster/forward.ts";
import { undiciSender } from "../../src/server/send.ts";
import { isWhole, type RawServer, reply, startRawServer } from "../support/raw-server.ts";

function sender(): Send {
  const { send, close } = undiciSender();
  onTestFinished(close);
  return send;
}

async function serverOf(...args: Parameters<typeof startRawServer>): Promise<RawServer> {
  const server = await startRawServer(...args);
  onTestFinished(() => server.end());
  return server;
}

const post = (url: string, more: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
  url: `${url}/path?query`,
  method: "POST",
  headers: { host: "signed.example", "x-name": "value" },
  body: new TextEncoder().encode("body"),
  timeout_ms: 5000,
  signal: undefined,
  ...more,
});

describe("an answer", () => {
  it("comes back with its status, headers and bytes, whatever the status", async () => {
    const body = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const status of [200, 204, 302, 409, 421, 503]) {
      const server = await serverOf((socket, request) => {
        if (!isWhole(request)) return false;
        const head = [`HTTP/1.1 ${status} Whatever`, "X-One: 1", "set-cookie: a", "set-cookie: b"];
        socket.write(reply(head, status === 204 ? "" : body));
        return true;
      });
      const answer = await sender()(post(server.url));
      if ("failed" in answer) throw new Error(answer.failed);
      expect(answer.status).toBe(status);
      expect(answer.headers).toMatchObject({ "x-one": "1", "set-cookie": "a, b" });
      expect(answer.body).toEqual(status === 204 ? new Uint8Array() : body);
    }
  });

  it("is to a request with exactly the headers that it was given, the host among them", async () => {
    const server = await serverOf((socket, request) => {
      if (!isWhole(request)) return false;
      socket.write(reply(["HTTP/1.1 200 OK"]));
      return true;
    });
    await sender()(
      post(server.url, { headers: { host: "signed.example", "x-latin": "\u00fc", "x-empty": "" } }),
    );
    const [head = "", body] = server.received().toString("latin1").split("\r\n\r\n");
    const [line, ...fields] = head.split("\r\n");
    expect(line).toBe("POST /path?query HTTP/1.1");
    expect(fields.toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      "connection: keep-alive",
      "content-length: 4",
      "host: signed.example",
      "x-empty: ",
      "x-latin: \u00fc",
    ]);
    expect(body).toBe("body");
  });

  it("takes a connection that is there", async () => {
    const server = await serverOf((socket, request) => {
      if (!isWhole(request)) return false;
      socket.write(reply(["HTTP/1.1 200 OK"]));
      return true;
    });
    const send = sender();
    for (let i = 0; i < 5; i++) expect(await send(post(server.url))).toMatchObject({ status: 200 });
    expect(server.connections()).toBeLessThan(5);
  });
});

describe("it is certain that nothing was sent", () => {
  it("where nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await once(server.close(), "close");
    expect(await sender()(post(`http://127.0.0.1:${port}`))).toEqual({ failed: "unsent" });
    expect(await sender()(post(`http://localhost:${port}`))).toEqual({ failed: "unsent" });
  });

  it("where the name is nobody's", async () => {
    expect(await sender()(post("http://nobody.invalid"))).toEqual({ failed: "unsent" });
  });
});

describe("it is not known whether anything came of it", () => {
  it("where the connection ends instead of an answer, at any moment", async () => {
    const endings: readonly ((socket: { end: () => void; resetAndDestroy: () => void }) => void)[] = [
      (socket) => socket.end(),
      (socket) => socket.resetAndDestroy(),
    ];
    for (const ending of endings) {
      for (const said of ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]) {
        const server = await serverOf((socket, request) => {
          if (!isWhole(request)) return false;
          if (said !== "") socket.write(said);
          ending(socket);
          return true;
        });
        expect(await sender()(post(server.url)), said).toEqual({ failed: "unclear" });
      }
    }
  });

  it("where the connection that was kept is closed in the moment in which it is used", async () => {
    let answered = 0;
    const server = await serverOf((socket, request) => {
      if (!isWhole(request)) return false;
      if (answered++ === 0) socket.write(reply(["HTTP/1.1 200 OK"]));
      else socket.destroy();
      return true;
    });
    const send = sender();
    expect(await send(post(server.url))).toMatchObject({ status: 200 });
    expect(await send(post(server.url))).toEqual({ failed: "unclear" });
  });

  it("where nothing is answered for so long as the caller waits", async () => {
    const server = await serverOf(() => false);
    expect(await sender()(post(server.url, { timeout_ms: 100 }))).toEqual({ failed: "unclear" });
  });

  it("where the answer begins and does not go on", async () => {
    const server = await serverOf((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
      return true;
    });
    expect(await sender()(post(server.url, { timeout_ms: 100 }))).toEqual({ failed: "unclear" });
  });

  it("where the other side is no longer waited for", async () => {
    const life = new AbortController();
    const server = await serverOf((_, request) => {
      if (isWhole(request)) life.abort();
      return false;
    });
    expect(await sender()(post(server.url, { signal: life.signal }))).toEqual({ failed: "unclear" });
    expect(await sender()(post(server.url, { signal: life.signal }))).toEqual({ failed: "unclear" });
  });

  it("where what is answered is not HTTP", async () => {
    const server = await serverOf((socket) => {
      socket.end("220 smtp.example\r\n\r\n");
      return true;
    });
    expect(await sender()(post(server.url))).toEqual({ failed: "unclear" });
  });
});
