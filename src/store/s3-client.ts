/**
 * Signed requests to one bucket (SigV4 by aws4fetch), each bounded in time and size (`exchange.ts`).
 *
 * Reads are sent again, with full jitter and out of a budget; writes are sent once, because only reading back can tell
 * what became of them. A request that is refused because its credentials have expired took no effect, so it is signed
 * anew where there are others. No credential reaches a reason or leaves this object but in a signature.
 */
import { AwsV4Signer } from "aws4fetch";
import { fromUtf8, toHex } from "../bytes.ts";
import {
  S3_BACKOFF_MS_MAX,
  S3_BACKOFF_MS_MIN,
  S3_READ_ATTEMPTS_MAX,
  S3_RETRIES_MAX,
  S3_RETRIES_PER_ANSWER,
  S3_SLOW_READ_MS,
} from "../limits.ts";
import type { Secret } from "../secret.ts";
import {
  codeOf,
  errorCodeOf,
  exchange,
  type Failure,
  isPassing,
  pause,
  type Result,
  type Wire,
} from "./exchange.ts";
import type { S3Address } from "./s3-address.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

/**
 * The credentials to sign with now; the same object as long as they are the same.
 *
 * @param refused those that the server has just called expired
 */
export type CredentialsSource = (refused?: S3Credentials) => Promise<S3Credentials | Failure>;

export interface S3Options extends Wire {
  readonly address: S3Address;
  readonly credentials: CredentialsSource;
  /** ms since the epoch: a signature is dated. */
  readonly now_ms: () => number;
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

/** Every URL parser takes `.` and `..` away, also encoded, and the key would be another one. */
const DOTS = /(?:^|\/)\.{1,2}(?:\/|$)/;

/** What servers say of credentials that were good once. */
const EXPIRED: ReadonlySet<string> = new Set(["ExpiredToken", "InvalidToken", "TokenRefreshRequired"]);

const CLOSED = { failed: "the store is closed" } as const;

export class S3Client {
  readonly #options: S3Options;
  /** Signing keys by day, of one secret at a time. Its keys hold that secret: it never leaves this object. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();
  #signedWith: S3Credentials | undefined;
  readonly #underWay = new Set<AbortController>();
  #retries = S3_RETRIES_MAX;
  #closed = false;

  constructor(options: S3Options) {
    this.#options = options;
  }

  /** Work that `close` cuts, as does its own time, where it has one. */
  async within<T>(work: (over: AbortSignal) => Promise<T>, longest_ms?: number): Promise<T> {
    const cut = new AbortController();
    if (this.#closed) cut.abort();
    this.#underWay.add(cut);
    const forget = longest_ms === undefined ? undefined : this.#options.after(longest_ms, () => cut.abort());
    try {
      return await work(cut.signal);
    } finally {
      forget?.();
      this.#underWay.delete(cut);
    }
  }

  /** A request that changes nothing: sent again while that can help. */
  async read(request: S3Request, over: AbortSignal): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      const result = await this.#hear(request, over);
      const passing = isPassing(result);
      if (!passing) this.#retries = Math.min(S3_RETRIES_MAX, this.#retries + S3_RETRIES_PER_ANSWER);
      if (!passing || over.aborted || attempt >= S3_READ_ATTEMPTS_MAX || this.#retries < 1) return result;
      this.#retries--;
      await this.backOff(attempt, S3_BACKOFF_MS_MAX, over);
    }
  }

  /** A read that is slow is sent once more beside. Whichever is answered first counts. */
  async #hear(request: S3Request, over: AbortSignal): Promise<Result> {
    const heard = new AbortController();
    const until = AbortSignal.any([over, heard.signal]);
    const first = this.#send(request, until);
    try {
      if (!(await this.#isSlow(first)) || this.#retries < 1) return await first;
      this.#retries--;
      const both = [first, this.#send(request, until)];
      const result = await Promise.race(both);
      if (!isPassing(result)) return result;
      return (await Promise.all(both)).find((other) => !isPassing(other)) ?? result;
    } finally {
      heard.abort();
    }
  }

  #isSlow(sent: Promise<Result>): Promise<boolean> {
    return new Promise((resolve) => {
      const forget = this.#options.after(S3_SLOW_READ_MS, () => resolve(true));
      const answered = (): void => {
        forget();
        resolve(false);
      };
      void sent.then(answered, answered);
    });
  }

  /** A request sent once. A server that says it has too much to do is given time before that is told. */
  async write(request: S3Request, over: AbortSignal): Promise<Result> {
    const result = await this.#send(request, over);
    const overloaded = "status" in result && (result.status === 429 || result.status === 503);
    if (overloaded) await pause(this.#options, S3_BACKOFF_MS_MAX, over);
    return result;
  }

  /** A pause before the next attempt, longer each time. */
  backOff(attempt: number, longest_ms: number, over: AbortSignal): Promise<void> {
    return pause(this.#options, Math.min(longest_ms, S3_BACKOFF_MS_MIN * 2 ** (attempt - 1)), over);
  }

  close(): void {
    this.#closed = true;
    for (const cut of this.#underWay) cut.abort();
    this.#signingKeys.clear();
    this.#signedWith = undefined;
  }

  /** Signed anew where the server calls the credentials expired and there are others: it has done nothing yet. */
  async #send(request: S3Request, over: AbortSignal): Promise<Result> {
    if (this.#closed) return CLOSED;
    if (DOTS.test(request.key)) return { failed: "no object can be named by a key with a segment of dots" };
    let expired: { readonly credentials: S3Credentials; readonly answer: Result } | undefined;
    for (;;) {
      const credentials = await unlessOver(this.#options.credentials(expired?.credentials), over);
      if (this.#closed) return CLOSED;
      if ("failed" in credentials) return credentials;
      if (expired?.credentials === credentials) return expired.answer;
      const answer = await this.#sendOnce(request, credentials, over);
      if (this.#closed) return CLOSED;
      if (expired !== undefined || !isExpired(answer)) return answer;
      expired = { credentials, answer };
    }
  }

  async #sendOnce(request: S3Request, credentials: S3Credentials, over: AbortSignal): Promise<Result> {
    const { method, body, bytesMax } = request;
    try {
      const signed = await this.#sign(request, credentials);
      const bounded = { ...(body !== undefined && { body }), ...(bytesMax !== undefined && { bytesMax }) };
      return await exchange(this.#options, { method, ...signed, ...bounded }, over);
    } catch (error) {
      return { failed: `the request cannot be signed${codeOf(error)}` };
    }
  }

  async #sign(
    request: S3Request,
    credentials: S3Credentials,
  ): Promise<{ url: string; headers: Record<string, string> }> {
    const { method, key, query = {}, body = new Uint8Array() } = request;
    const { address, now_ms } = this.#options;
    const parameters = Object.entries(query).map(([name, value]) => `${name}=${encode(value)}`);
    const path = key === "" ? "" : (address.prefix + key).split("/").map(encode).join("/");
    const url = `${address.base}${path}${parameters.length > 0 ? "?" : ""}${parameters.join("&")}`;
    // With the body's digest signed, the server refuses a body that was cut or damaged on its way.
    const digest = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", body)));
    if (this.#signedWith !== credentials) this.#signingKeys.clear();
    this.#signedWith = credentials;
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

/** Credentials are renewed for all who wait, so who stops waiting does not stop the renewal. */
function unlessOver<T>(promise: Promise<T>, over: AbortSignal): Promise<T | Failure> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve({ failed: "the credentials did not come in time" });
    if (over.aborted) stop();
    over.addEventListener("abort", stop);
    void promise.then(resolve, reject).finally(() => over.removeEventListener("abort", stop));
  });
}

function isExpired(result: Result): boolean {
  if ("failed" in result || result.status < 400 || result.status > 403) return false;
  return EXPIRED.has(errorCodeOf(result) ?? "");
}

/** RFC 3986 in capitals, as SigV4 wants it: everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
