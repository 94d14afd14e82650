/**
 * One HTTP exchange, bounded in time and size.
 *
 * It ends in a complete answer or in `failed`, a clause that says why; it never throws. No credential reaches that
 * clause: what a server or a library says in its own words is not repeated.
 */
import { concatAll, fromUtf8 } from "../bytes.ts";
import { S3_ANSWER_BYTES_MAX, S3_TIMEOUT_MS, S3_UPLOAD_BYTES_PER_MS_MIN } from "../limits.ts";
import { readXml } from "./s3-xml.ts";

/** What is needed of `fetch`: the platform's, or undici's. */
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

/** What comes from outside: the network, timers, chance. */
export interface Wire {
  readonly fetch: Fetch;
  /** Runs something later, once. @returns what forgets it. */
  readonly after: (wait_ms: number, run: () => void) => () => void;
  /** A fraction, 0 ≤ f < 1, to spread retries. */
  readonly fraction: () => number;
}

export interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** How much of an answer's body is taken where its status is 200. */
  readonly bytesMax?: number;
}

export interface Answer {
  readonly status: number;
  readonly header: (name: string) => string | null;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface Failure {
  readonly failed: string;
}

export type Result = Answer | Failure;

/** Where the same request may do better a moment later. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

export function isPassing(result: Result): boolean {
  return "failed" in result || PASSING.has(result.status);
}

/** @param over cuts the exchange when whoever waits for it waits no longer */
export async function exchange(wire: Wire, request: Request, over: AbortSignal): Promise<Result> {
  const { method, url, headers, body, bytesMax = S3_ANSWER_BYTES_MAX } = request;
  const silence = new AbortController();
  const listen = (wait_ms: number) => wire.after(wait_ms, () => silence.abort());
  let forget = listen(S3_TIMEOUT_MS + (body?.length ?? 0) / S3_UPLOAD_BYTES_PER_MS_MIN);
  const signal = AbortSignal.any([silence.signal, over]);
  try {
    // A redirect would be followed with a signature that is for another host.
    const response = await wire.fetch(url, {
      method,
      headers,
      body: body ?? null,
      redirect: "manual",
      signal,
    });
    const { status } = response;
    const most = status === 200 ? bytesMax : S3_ANSWER_BYTES_MAX;
    const parts: Uint8Array[] = [];
    let left = most;
    for await (const part of response.body ?? []) {
      // Whoever keeps sending is not lost, however long the whole takes.
      forget();
      forget = listen(S3_TIMEOUT_MS);
      left -= part.length;
      if (left < 0) return { failed: `it answered with more than ${most} bytes` };
      parts.push(part);
    }
    return { status, header: (name) => response.headers.get(name), body: concatAll(parts) };
  } catch (error) {
    return { failed: signal.aborted ? "it did not answer in time" : `no answer${codeOf(error)}` };
  } finally {
    forget();
  }
}

/** Waits a random part of the time ("full jitter"), until `over`: who failed together does not come again together. */
export function pause(wire: Wire, longest_ms: number, over: AbortSignal): Promise<void> {
  if (over.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      forget();
      over.removeEventListener("abort", done);
      resolve();
    };
    const forget = wire.after(wire.fraction() * longest_ms, done);
    over.addEventListener("abort", done);
  });
}

/** The system's code of an error, as ` (ECONNREFUSED)`. Messages may hold headers, and headers hold secrets. */
export function codeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return ` (${code})`;
  }
  return "";
}

/** The error code of an answer in XML, as S3 (`Error/Code`) and STS (`ErrorResponse/Error/Code`) write it. */
export function errorCodeOf({ body }: Answer): string | undefined {
  const leaves = readXml(fromUtf8(body) ?? "");
  const [code = ""] = leaves?.get("Error/Code") ?? leaves?.get("ErrorResponse/Error/Code") ?? [];
  return /^\w{1,64}$/.test(code) ? code : undefined;
}

/** A clause for people. The server's message stays out: it may hold what was signed. */
export function describe(result: Result): string {
  if ("failed" in result) return result.failed;
  const { status, header } = result;
  if (status >= 300 && status < 400) {
    const region = header("x-amz-bucket-region") ?? "";
    return `it answered ${status}: the bucket is elsewhere${/^[a-z0-9-]{1,64}$/.test(region) ? `, in ${region}` : ""}`;
  }
  return `it answered ${[status, errorCodeOf(result)].join(" ").trim()}`;
}
