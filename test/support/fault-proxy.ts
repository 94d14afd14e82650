/**
 * An HTTP proxy that fails on purpose: between nodes and an S3 server, one listening port for each node.
 *
 * What passes, passes byte for byte, `Host` and path included, because SigV4 signs them. Whatever a plan decides, a
 * request that was passed on stays passed on, also when its sender has given up or died: that is what makes late
 * writes. The plan may be changed at any time, and a port may be cut off for a while.
 */
import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout } from "node:timers/promises";

export interface S3Error {
  readonly status: number;
  readonly code: string;
}

export type Fault =
  /** An error instead of passing on, or after it, instead of the answer. */
  | { readonly kind: "error_before" | "error_after"; readonly error: S3Error }
  /** The connection is cut instead of passing on, or after it, instead of the answer. */
  | { readonly kind: "cut_before" | "cut_after" }
  /** S3's 409 instead of passing on: another write of the key is under way. */
  | { readonly kind: "conflict" }
  /** Passed on, or answered, only after this time. */
  | { readonly kind: "late_request" | "late_answer"; readonly wait_ms: number }
  /** Passed on and answered, and this time after it passed on once more, the answer unheard. */
  | { readonly kind: "duplicate"; readonly wait_ms: number }
  /** Passed on twice at once, and answered as the second time was. */
  | { readonly kind: "twice" }
  /** Passed on and never answered, until the sender gives up or the gate ends. */
  | { readonly kind: "hang" };

const CONFLICT: S3Error = { status: 409, code: "ConditionalRequestConflict" };

export interface Passing {
  readonly method: string;
  /** As it was sent, with its query. */
  readonly path: string;
}

export interface Decision {
  /** Before anything else happens. */
  readonly latency_ms: number;
  readonly fault: Fault | undefined;
}

export type Plan = (passing: Passing) => Decision;

export const PASS_ALL: Plan = () => ({ latency_ms: 0, fault: undefined });

/** How a node that is cut off finds the store: connections are reset, or nobody answers, ever. */
export type CutOff = "reset" | "silence";

export interface FaultProxy {
  readonly gates: readonly FaultGate[];
  end(): Promise<void>;
}

/** @param upstream `http://HOST:PORT` */
export async function startFaultProxy(upstream: string, gates: number): Promise<FaultProxy> {
  const agent = new Agent({ keepAlive: true });
  const started = await Promise.all(
    Array.from({ length: gates }, () => FaultGate.start(new URL(upstream), agent)),
  );
  return {
    gates: started,
    end: async () => {
      await Promise.all(started.map((gate) => gate.end()));
      agent.destroy();
    },
  };
}

interface Whole extends Passing {
  /** Names and values by turns, as they were sent. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** One port of the proxy. */
export class FaultGate {
  plan: Plan = PASS_ALL;
  readonly #server: Server;
  readonly #upstream: URL;
  readonly #agent: Agent;
  readonly #sockets = new Set<Socket>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #counts = new Map<string, number>();
  readonly #ended = new AbortController();
  #cutOff: CutOff | undefined;

  private constructor(upstream: URL, agent: Agent) {
    this.#upstream = upstream;
    this.#agent = agent;
    this.#server = createServer((incoming, response) => {
      const taken = this.#take(incoming, response).finally(() => this.#underWay.delete(taken));
      this.#underWay.add(taken);
    });
    this.#server.on("connection", (socket) => this.#connected(socket));
  }

  static async start(upstream: URL, agent: Agent): Promise<FaultGate> {
    const gate = new FaultGate(upstream, agent);
    gate.#server.listen(0, "127.0.0.1");
    await once(gate.#server, "listening");
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How often each fault happened, and `passed` how many requests reached the server. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** Until `heal`: nothing that comes is passed on, and no answer goes back. */
  cutOff(how: CutOff): void {
    this.#count("cut_off");
    this.#cutOff = how;
    if (how === "reset") this.#resetAll();
  }

  heal(): void {
    if (this.#cutOff === undefined) return;
    this.#cutOff = undefined;
    // Whoever waits in silence would wait for ever.
    this.#resetAll();
  }

  /** Resolves when all that it has taken so far is over, the late and the duplicates, too. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async end(): Promise<void> {
    this.#ended.abort();
    this.#server.close();
    this.#resetAll();
    await once(this.#server, "close");
  }

  #connected(socket: Socket): void {
    if (this.#cutOff === "reset") {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #resetAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await bodyOf(incoming);
      const { method = "", url: path = "", rawHeaders: headers } = incoming;
      if (this.#cutOff === undefined) await this.#treat({ method, path, headers, body }, response);
    } catch {
      // The sender is gone, the server is, or the proxy ends: the connection shows it.
      response.destroy();
    }
  }

  async #treat(whole: Whole, response: ServerResponse): Promise<void> {
    const { latency_ms, fault } = this.plan(whole);
    if (latency_ms > 0) await this.#wait(latency_ms);
    if (fault === undefined) return this.#reply(response, await this.#pass(whole));
    this.#count(fault.kind);
    switch (fault.kind) {
      case "error_before":
        return this.#reply(response, errorAnswer(fault.error));
      case "error_after":
        await this.#pass(whole);
        return this.#reply(response, errorAnswer(fault.error));
      case "cut_before":
        return void response.destroy();
      case "cut_after":
        await this.#pass(whole);
        return void response.destroy();
      case "conflict":
        return this.#reply(response, errorAnswer(CONFLICT));
      case "late_request":
        await this.#wait(fault.wait_ms);
        return this.#reply(response, await this.#pass(whole));
      case "late_answer": {
        const answer = await this.#pass(whole);
        await this.#wait(fault.wait_ms);
        return this.#reply(response, answer);
      }
      case "duplicate":
        this.#reply(response, await this.#pass(whole));
        await this.#wait(fault.wait_ms);
        await this.#pass(whole);
        return undefined;
      case "twice":
        await this.#pass(whole);
        return this.#reply(response, await this.#pass(whole));
      case "hang":
        await this.#pass(whole);
        return undefined;
      default:
        throw new Error(`no such fault: ${String(fault satisfies never)}`);
    }
  }

  #reply(response: ServerResponse, { status, message, headers, body }: Answer): void {
    if (this.#cutOff !== undefined || response.destroyed) return;
    response.writeHead(status, message, [...headers]);
    response.end(body);
  }

  async #pass({ method, path, headers, body }: Whole): Promise<Answer> {
    this.#count("passed");
    const { hostname: host, port } = this.#upstream;
    const outgoing = request({
      agent: this.#agent,
      host,
      port,
      method,
      path,
      headers: endToEnd(headers),
      setHost: false,
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    const { statusCode: status = 0, statusMessage: message = "", rawHeaders } = answer;
    return { status, message, headers: endToEnd(rawHeaders), body: await bodyOf(answer) };
  }

  #wait(wait_ms: number): Promise<void> {
    return setTimeout(wait_ms, undefined, { signal: this.#ended.signal });
  }

  #count(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What is said about one connection and not about the message (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = /^(?:connection|keep-alive|proxy-connection|te|transfer-encoding|upgrade|expect)$/i;

function endToEnd(headers: readonly string[]): string[] {
  return headers.filter((_, index) => !HOP_BY_HOP.test(headers[index - (index % 2)] ?? ""));
}

function errorAnswer({ status, code }: S3Error): Answer {
  const body = Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>on purpose</Message></Error>`,
  );
  const headers = ["content-type", "application/xml", "content-length", String(body.length)];
  return { status, message: code, headers, body };
}
