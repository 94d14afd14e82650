/**
 * A client's discharges: fetched from the services that the program trusts, bound to the token, kept and renewed.
 *
 *     const discharges = new Discharges({ services: [{ location: "https://approvals.example" }], fetch, … });
 *     const outcome = await discharges.send(caller, (discharged) => signCall(discharged, call));
 *
 * A caveat's location is not authenticated: anybody who has had the token may have written it. So only locations that
 * the program has listed are asked, and nothing else is ever fetched. A discharge of a discharge is fetched the same way.
 */
import { expiryIn } from "../authorize/expiry.ts";
import { fromUtf8, toBase64url } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  DISCHARGE_LIFETIME_MS,
  DISCHARGE_NESTING_MAX,
  DISCHARGE_PATIENCE_MS,
  DISCHARGE_RENEWAL_MS,
  DISCHARGES_KEPT_MAX,
  DISCHARGES_MAX,
} from "../limits.ts";
import { bindDischarge } from "../token/discharge.ts";
import { decodeToken, encodeToken } from "../token/envelope.ts";
import type { Macaroon, UnsafeCaveat } from "../token/macaroon.ts";
import { type AskOptions, askService, type Service } from "./ask-service.ts";
import { type Caller, type CallOutcome, type SignedQuestion, type SignedRequest, send } from "./client.ts";

export type { Service } from "./ask-service.ts";

export interface DischargesOptions extends Omit<AskOptions, "patience_ms"> {
  /** Only these are ever asked. */
  readonly services: readonly Service[];
  /** How long to wait for one discharge; two minutes unless said. */
  readonly patience_ms?: number;
}

interface Kept {
  readonly macaroon: Macaroon;
  readonly fetched_ms: number;
  readonly expires_ms: number;
}

/** For any number of tokens. */
export class Discharges {
  readonly #options: AskOptions;
  readonly #services: ReadonlyMap<string, Service>;
  /** By ticket, in the order in which they came. */
  readonly #kept = new Map<string, Kept>();
  /** One for each ticket that is asked for now, whoever waits. */
  readonly #flights = new Map<string, Promise<Macaroon | Refusal>>();

  constructor({ services, ...options }: DischargesOptions) {
    this.#options = { patience_ms: DISCHARGE_PATIENCE_MS, ...options };
    this.#services = new Map(services.map((service) => [normal(service.location), service]));
  }

  /**
   * @param token without discharges, in any form that a gate reads
   * @returns the token with all its discharges, as a request carries them; `discharge_missing` with those whose location
   *   is not listed, or why a service gives none: `discharge_denied`, `deadline`, `overloaded`
   */
  async complete(token: string): Promise<string | Refusal> {
    const completed = await this.#complete(token);
    return isRefusal(completed) ? completed : completed.token;
  }

  /**
   * Completes the caller's token, signs and sends. A gate whose clock is ahead of ours may hold a discharge for expired:
   * then it is fetched anew, and the call, which had no effect, is signed and sent once more.
   */
  async send(
    caller: Caller,
    sign: (discharged: Caller) => SignedRequest | SignedQuestion,
  ): Promise<CallOutcome | Refusal> {
    const completed = await this.#complete(caller.token);
    if (isRefusal(completed)) return completed;
    const outcome = await send(sign({ ...caller, token: completed.token }), this.#options.fetch);
    const { code, token: at = 0 } = "problem" in outcome ? outcome.problem : {};
    const expired = code === "token_expired" ? completed.tickets[at - 1] : undefined;
    if (expired === undefined) return outcome;
    this.#kept.delete(expired);
    const token = await this.complete(caller.token);
    return isRefusal(token) ? token : send(sign({ ...caller, token }), this.#options.fetch);
  }

  async #complete(
    token: string,
  ): Promise<{ readonly token: string; readonly tickets: readonly string[] } | Refusal> {
    const root = decodeToken(token);
    if (isRefusal(root)) return root;
    const all: Macaroon[] = [];
    let asking = thirdPartiesOf(root);
    for (let depth = 0; asking.length > 0; depth++) {
      if (depth >= DISCHARGE_NESTING_MAX || all.length + asking.length > DISCHARGES_MAX)
        return refuse("discharge_missing", "the token asks for more discharges than a gate takes");
      const level = await this.#getAll(asking);
      if (isRefusal(level)) return level;
      all.push(...level);
      asking = level.flatMap(thirdPartiesOf);
    }
    const bound = all.map((discharge) => bindDischarge(discharge, root));
    return {
      token: [root, ...bound].map(encodeToken).join(","),
      tickets: all.map(({ identifier }) => toBase64url(identifier)),
    };
  }

  async #getAll(asking: readonly UnsafeCaveat[]): Promise<readonly Macaroon[] | Refusal> {
    // Nobody is bothered for a token that cannot be completed.
    const unlisted = this.#refuseUnlisted(asking);
    if (unlisted !== undefined) return unlisted;
    const got: Macaroon[] = [];
    for (const discharge of await Promise.all(asking.map((caveat) => this.#get(caveat)))) {
      if (isRefusal(discharge)) return discharge;
      got.push(discharge);
    }
    return got;
  }

  #refuseUnlisted(asking: readonly UnsafeCaveat[]): Refusal | undefined {
    const unlisted = asking.filter(({ location = "" }) => !this.#services.has(normal(location)));
    if (unlisted.length === 0) return undefined;
    const places = [...new Set(unlisted.map(({ location = "" }) => JSON.stringify(location)))].join(", ");
    return refuse(
      "discharge_missing",
      `discharges are needed from ${places}, which is not listed to be asked`,
      {
        discharges: unlisted.map(({ cid, location = "" }) => ({ location, ticket: toBase64url(cid) })),
      },
    );
  }

  /** One that is kept, as long as it lasts; its successor is fetched while it still does. */
  async #get({ cid, location = "" }: UnsafeCaveat): Promise<Macaroon | Refusal> {
    const kept = this.#kept.get(toBase64url(cid));
    const now_ms = this.#options.now_ms();
    if (kept === undefined || now_ms >= kept.expires_ms) return this.#fetch(cid, location);
    const margin_ms = Math.min(DISCHARGE_RENEWAL_MS, (kept.expires_ms - kept.fetched_ms) / 4);
    // Nobody waits for it: what it comes to, the next one finds.
    if (now_ms >= kept.expires_ms - margin_ms) void this.#fetch(cid, location);
    return kept.macaroon;
  }

  #fetch(ticket: Uint8Array, location: string): Promise<Macaroon | Refusal> {
    const key = toBase64url(ticket);
    const flight = this.#flights.get(key) ?? this.#fly(key, ticket, location);
    this.#flights.set(key, flight);
    return flight;
  }

  async #fly(key: string, ticket: Uint8Array, location: string): Promise<Macaroon | Refusal> {
    try {
      const service = this.#services.get(normal(location)) ?? { location };
      const discharge = await askService(service, ticket, this.#options);
      if (!isRefusal(discharge)) this.#keep(key, discharge);
      return discharge;
    } finally {
      this.#flights.delete(key);
    }
  }

  #keep(key: string, macaroon: Macaroon): void {
    const now_ms = this.#options.now_ms();
    this.#kept.delete(key);
    for (const [other, { expires_ms }] of this.#kept) if (expires_ms <= now_ms) this.#kept.delete(other);
    for (const [oldest] of this.#kept) {
      if (this.#kept.size < DISCHARGES_KEPT_MAX) break;
      this.#kept.delete(oldest);
    }
    this.#kept.set(key, { macaroon, fetched_ms: now_ms, expires_ms: expiryOf(macaroon, now_ms) });
  }
}

const normal = (location: string): string => location.replace(/\/+$/, "");

const thirdPartiesOf = ({ unsafeCaveats }: Macaroon): readonly UnsafeCaveat[] =>
  unsafeCaveats.filter(({ vid }) => vid !== undefined);

/** The earliest that it names. One that names none is asked for again as if it had. */
function expiryOf({ unsafeCaveats }: Macaroon, now_ms: number): number {
  const named = unsafeCaveats.flatMap(({ cid, vid }) =>
    vid === undefined ? (expiryIn(fromUtf8(cid) ?? "") ?? []) : [],
  );
  return named.length === 0 ? now_ms + DISCHARGE_LIFETIME_MS : Math.min(...named);
}
