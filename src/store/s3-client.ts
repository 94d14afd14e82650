/**
 * Signed requests to one bucket (SigV4 by aws4fetch), each bounded in time and size.
 *
 * A request ends in a complete answer or in `failed`, a clause that says why; it never throws. Reads are sent again,
 * with full jitter and out of a budget; writes are sent once, because only reading back can tell what became of them
 * (`settle.ts`). No credential reaches a reason: what a server or a library says in its own words is not repeated.
 */
import { AwsV4Signer } from "aws4fetch";
import { concatAll, fromUtf8, toHex } from "../bytes.ts";
import {
  S3_ANSWER_BYTES_MAX,
  S3_BACKOFF_MS_MAX,
  S3_BACKOFF_MS_MIN,
  S3_READ_ATTEMPTS_MAX,
  S3_RETRIES_MAX,
  S3_RETRIES_PER_ANSWER,
  S3_TIMEOUT_MS,
  S3_UPLOAD_BYTES_PER_MS_MIN,
} from "../limits.ts";
import type { Secret } from "../secret.ts";
import type { S3Address } from "./s3-address.ts";
import { readXml } from "./s3-xml.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

/** What the driver needs of `fetch`: the platform's, or undici's. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Record<string, string>;
    readonly body: Uint8Array<ArrayBuffer> | null;
    readonly redirect: "manual";
    readonly signal: AbortSignal;
  },
) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}>;

export interface S3Options {
  readonly address: S3Address;
  readonly credentials: S3Credentials;
  readonly fetch: Fetch;
  /** ms since the epoch: a signature is dated. */
  readonly now_ms: () => number;
  /** Runs something later, once. @returns what forgets it. */
  readonly after: (wait_ms: number, run: () => void) => () => void;
  /** A fraction, 0 ≤ f < 1, to spread retries. */
  readonly fraction: () => number;
}

export interface S3Request {
  readonly method: "GET" | "PUT" | "DELETE";
  /** Without the store's prefix; empty for the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** How much of an answer's body is taken where its status is 200. */
  readonly bytesMax?: number;
}

export interface S3Answer {
  readonly status: number;
  readonly header: (name: string) => string | null;
  readonly body: Uint8Array<ArrayBuffer>;
}

export type S3Result = S3Answer | { readonly failed: string };

/** Every URL parser takes `.` and `..` away, also encoded, and the key would be another one. */
const DOTS = /(?:^|\/)\.{1,2}(?:\/|$)/;

/** Where the same read may do better a moment later. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

export class S3Client {
  readonly #options: S3Options;
  /** Signing keys by day. Its keys hold the secret: it never leaves this object. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();
  readonly #underWay = new Set<AbortController>();
  #retries = S3_RETRIES_MAX;
  #closed = false;

  constructor(options: S3Options) {
    this.#options = options;
  }

  /** A request that changes nothing: sent again while that can help. */
  async read(request: S3Request): Promise<S3Result> {
    for (let attempt = 1; ; attempt++) {
      const result = await this.#send(request);
      const passing = "failed" in result || PASSING.has(result.status);
      if (!passing) this.#retries = Math.min(S3_RETRIES_MAX, this.#retries + S3_RETRIES_PER_ANSWER);
      if (!passing || this.#closed || attempt >= S3_READ_ATTEMPTS_MAX || this.#retries < 1) return result;
      this.#retries--;
      await this.#pause(Math.min(S3_BACKOFF_MS_MAX, S3_BACKOFF_MS_MIN * 2 ** (attempt - 1)));
    }
  }

  /** A request sent once. Its unclear end is told after a pause: whoever settles it will ask again at once. */
  async write(request: S3Request): Promise<S3Result> {
    const result = await this.#send(request);
    if ("failed" in result || PASSING.has(result.status)) await this.#pause(longestPause(result));
    return result;
  }

  /** Waits a random part of the time ("full jitter"): who failed together does not come again together. */
  #pause(longest_ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#options.after(this.#options.fraction() * longest_ms, resolve);
    });
  }

  async #send(request: S3Request): Promise<S3Result> {
    if (this.#closed) return { failed: "the store is closed" };
    if (DOTS.test(request.key)) return { failed: "no object can be named by a key with a segment of dots" };
    const { after, fetch } = this.#options;
    const cut = new AbortController();
    this.#underWay.add(cut);
    const upload_ms = (request.body?.length ?? 0) / S3_UPLOAD_BYTES_PER_MS_MIN;
    let forget = after(S3_TIMEOUT_MS + upload_ms, () => cut.abort());
    try {
      const { url, headers } = await this.#sign(request);
      const { method, body = null } = request;
      // A redirect would be followed with a signature that is for another host.
      const response = await fetch(url, { method, headers, body, redirect: "manual", signal: cut.signal });
      const { status } = response;
      const most = status === 200 ? (request.bytesMax ?? S3_ANSWER_BYTES_MAX) : S3_ANSWER_BYTES_MAX;
      const parts: Uint8Array[] = [];
      let left = most;
      for await (const part of response.body ?? []) {
        // Whoever keeps sending is not lost, however long the whole takes.
        forget();
        forget = after(S3_TIMEOUT_MS, () => cut.abort());
        left -= part.length;
        if (left < 0) return { failed: `it answered with more than ${most} bytes` };
        parts.push(part);
      }
      return { status, header: (name) => response.headers.get(name), body: concatAll(parts) };
    } catch (error) {
      if (this.#closed) return { failed: "the store is closed" };
      return { failed: cut.signal.aborted ? "it did not answer in time" : causeOf(error) };
    } finally {
      forget();
      this.#underWay.delete(cut);
    }
  }

  close(): void {
    this.#closed = true;
    for (const cut of this.#underWay) cut.abort();
    this.#signingKeys.clear();
  }

  async #sign(request: S3Request): Promise<{ url: string; headers: Record<string, string> }> {
    const { method, key, query = {}, body = new Uint8Array() } = request;
    const { address, credentials, now_ms } = this.#options;
    const parameters = Object.entries(query).map(([name, value]) => `${name}=${encode(value)}`);
    const path = key === "" ? "" : (address.prefix + key).split("/").map(encode).join("/");
    const url = `${address.base}${path}${parameters.length > 0 ? "?" : ""}${parameters.join("&")}`;
    // With the body's digest signed, the server refuses a body that was cut or damaged on its way.
    const digest = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", body)));
    const { sessionToken, secretAccessKey, accessKeyId } = credentials;
    const token = sessionToken && fromUtf8(sessionToken.expose());
    const signer = new AwsV4Signer({
      method,
      url,
      headers: { ...request.headers, "x-amz-content-sha256": digest },
      accessKeyId,
      secretAccessKey: fromUtf8(secretAccessKey.expose()) ?? "",
      ...(token !== undefined && { sessionToken: token }),
      service: "s3",
      region: address.region,
      cache: this.#signingKeys,
      datetime: new Date(now_ms()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const { headers } = await signer.sign();
    // Not signed, because proxies change it; asked for, because a compressed answer has another ETag.
    return { url, headers: { ...Object.fromEntries(headers), "accept-encoding": "identity" } };
  }
}

/** A server that says it has too much to do is given time; Ceph's 500 to the loser of a race is over at once. */
function longestPause(result: S3Result): number {
  const overloaded = "status" in result && (result.status === 429 || result.status === 503);
  return overloaded ? S3_BACKOFF_MS_MAX : S3_BACKOFF_MS_MIN;
}

/** RFC 3986 in capitals, as SigV4 wants it: everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The error code of an answer in S3's XML. */
export function errorCodeOf({ body }: S3Answer): string | undefined {
  const [code = ""] = readXml(fromUtf8(body) ?? "")?.get("Error/Code") ?? [];
  return /^\w{1,64}$/.test(code) ? code : undefined;
}

/** A clause for people. The server's message stays out: it may hold what was signed. */
export function describe(result: S3Result): string {
  if ("failed" in result) return result.failed;
  const { status, header } = result;
  if (status >= 300 && status < 400) {
    const region = header("x-amz-bucket-region") ?? "";
    return `it answered ${status}: the bucket is elsewhere${/^[a-z0-9-]{1,64}$/.test(region) ? `, in ${region}` : ""}`;
  }
  return `it answered ${[status, errorCodeOf(result)].join(" ").trim()}`;
}

/** The system's code of an error (`ECONNREFUSED`). Messages may hold headers, and headers hold secrets. */
function causeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return `no answer (${code})`;
  }
  return "no answer";
}
