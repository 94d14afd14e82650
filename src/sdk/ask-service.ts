/**
 * Asks one discharge service for one discharge, and waits for it as long as there is patience.
 *
 * Only what the service is trusted with is sent, and only to it: a `poll_url` elsewhere is refused, redirects are not
 * followed. What comes back is read strictly, and must be for the ticket that was sent.
 */
import { sameBytes, toBase64url, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { POLL_PAUSE_MS_MAX, POLL_PAUSE_MS_MIN } from "../limits.ts";
import { decodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";
import { dischargeUrl } from "../token/third-party.ts";
import type { Fetch } from "./client.ts";

type Headers = Readonly<Record<string, string>>;

export interface Service {
  /** As caveats say it. */
  readonly location: string;
  /** Sent with each request: who asks, where the service wants to know. */
  readonly headers?: Headers;
}

export interface AskOptions {
  readonly fetch: Fetch;
  /** ms since the epoch. */
  readonly now_ms: () => number;
  readonly random: (length: number) => Uint8Array;
  /** Resolves after so long. */
  readonly pause: (ms: number) => Promise<unknown>;
  /** How long to wait for one discharge. */
  readonly patience_ms: number;
}

/** @returns the discharge, unbound; `discharge_denied`, `deadline`, `overloaded`, or `discharge_missing` */
export async function askService(
  { location, headers = {} }: Service,
  ticket: Uint8Array,
  options: AskOptions,
): Promise<Macaroon | Refusal> {
  const began_ms = options.now_ms();
  const url = dischargeUrl(location);
  const body = utf8(JSON.stringify({ ticket: toBase64url(ticket) }));
  let answer = await exchange(options.fetch, url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body,
    redirect: "error",
  });
  for (let asked = 0; ; asked++) {
    // Nothing has come of it so far; asked again the service would begin a second decision.
    if (isRefusal(answer)) return answer;
    const read = readAnswer(answer, location, ticket);
    if (typeof read !== "string") return read;
    const pause_ms = pauseBefore(asked, options.random);
    if (options.now_ms() + pause_ms - began_ms > options.patience_ms)
      return refuse("deadline", `${location} has not decided within ${options.patience_ms} ms`);
    await options.pause(pause_ms);
    const again = await exchange(options.fetch, read, { method: "GET", headers, redirect: "error" });
    // A poll that fails may be repeated: the decision does not depend on it.
    if (!isRefusal(again) && again.status < 500) answer = again;
  }
}

/** Doubled each time, half of it by chance: those who began to wait together do not all come back together. */
function pauseBefore(asked: number, random: AskOptions["random"]): number {
  const [byte = 0] = random(1);
  const longest_ms = Math.min(POLL_PAUSE_MS_MIN * 2 ** Math.min(asked, 16), POLL_PAUSE_MS_MAX);
  return Math.ceil((longest_ms * (1 + byte / 255)) / 2);
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function exchange(fetch: Fetch, url: string, init: Parameters<Fetch>[1]): Promise<Answer | Refusal> {
  try {
    const response = await fetch(url, init);
    return { status: response.status, body: await response.json() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse("overloaded", `the third party at ${new URL(url).origin} cannot be reached: ${reason}`);
  }
}

/** The discharge, where to ask again, or why there will be none. */
function readAnswer(
  { status, body }: Answer,
  location: string,
  ticket: Uint8Array,
): Macaroon | string | Refusal {
  if (status === 200) return readDischarge(member(body, "discharge"), location, ticket);
  if (status === 202) {
    const url = member(body, "poll_url") ?? "";
    return url.startsWith(`${dischargeUrl(location)}/`) && URL.canParse(url)
      ? url
      : refuse("discharge_missing", `${location} answered with a poll_url that is not below its own address`);
  }
  const detail = member(body, "detail") ?? `it answered ${status}`;
  if (member(body, "code") === "discharge_denied") return refuse("discharge_denied", detail);
  if (status >= 500) return refuse("overloaded", `the third party at ${location} fails: ${detail}`);
  return refuse("discharge_missing", `${location} gives no discharge: ${detail}`);
}

function readDischarge(text: string | undefined, location: string, ticket: Uint8Array): Macaroon | Refusal {
  const macaroon = text === undefined ? undefined : decodeToken(text);
  if (macaroon !== undefined && !isRefusal(macaroon) && sameBytes(macaroon.identifier, ticket))
    return macaroon;
  return refuse(
    "discharge_missing",
    `${location} answered with something that is no discharge for the ticket`,
  );
}

/** The text of this member, if there is one. */
function member(body: unknown, name: string): string | undefined {
  if (typeof body !== "object" || body === null || !Object.hasOwn(body, name)) return undefined;
  const value: unknown = Reflect.get(body, name);
  return typeof value === "string" ? value : undefined;
}
