/** A reverse proxy that changes requests on their way, as real ones do when they are set up wrongly. */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

export interface Passing {
  path: string;
  readonly headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface RewritingProxy {
  readonly url: string;
  /** Where it passes requests on to. */
  target: string;
  rewrite: (passing: Passing) => void;
  end(): Promise<void>;
}

export async function startRewritingProxy(): Promise<RewritingProxy> {
  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const passing = {
        path: request.url ?? "",
        headers: { ...request.headers },
        body: Buffer.concat(chunks),
      };
      proxy.rewrite(passing);
      const { path, headers, body } = passing;
      const onward = { ...headers, "content-length": String(body.length), connection: "close" };
      const sent = httpRequest(new URL(proxy.target), { method: request.method, path, headers: onward });
      sent.on("response", (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      sent.on("error", () => response.destroy());
      sent.end(body);
    });
  });
  await new Promise<void>((resolve) => {
    http.listen(0, "127.0.0.1", resolve);
  });
  const proxy: RewritingProxy = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    target: "",
    rewrite: () => {},
    end: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  return proxy;
}
