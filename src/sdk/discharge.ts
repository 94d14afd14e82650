/**
 * A discharge service, as a Hono app to be mounted where the caveats say it is:
 *
 *     app.route("/", dischargeService({ key, location: "https://approvals.example", check, poll, now_ms, random }));
 *
 *     POST /discharge {"ticket":"…"}   → 200 {"discharge":"pst_…"}, 202 {"poll_url":"…"}, or a problem (RFC 9457)
 *     GET  <poll_url>                  → the same
 *
 * The application decides: `check` whether what the caveat says is so, `poll` how far a decision that takes its time has
 * come. Nothing is remembered here. A discharge is good for five minutes unless said; clients fetch the next by themselves.
 */
import { Hono } from "hono";
import { formatExpiry } from "../authorize/expiry.ts";
import { fromBase64url, toHex } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonObject, parseJson } from "../json.ts";
import {
  DISCHARGE_LIFETIME_MS,
  DISCHARGE_REQUEST_BYTES_MAX,
  POLL_ID_LENGTH_MAX,
  POLL_LIFETIME_MS,
} from "../limits.ts";
import { problemResponse } from "../record/reply.ts";
import { readBody } from "../request/body.ts";
import { requireJson } from "../request/headers.ts";
import type { Addition } from "../token/chain.ts";
import { mintDischarge } from "../token/discharge.ts";
import { encodeToken } from "../token/envelope.ts";
import { dischargeUrl, isLocation, type OpenTicket, openTicket } from "../token/third-party.ts";
import { openWaiting, sealWaiting, type Waiting } from "./poll-url.ts";
import { readServiceKey, type ServiceKey } from "./service-key.ts";

export interface Grant {
  readonly decision: "grant";
  /** What the discharge is worth, beside its expiry: texts, and third parties to be asked in turn. No `protocol`. */
  readonly caveats?: readonly Addition[];
  readonly lifetime_ms?: number;
}

export interface Denial {
  readonly decision: "deny";
  /** Told to the client. */
  readonly reason: string;
}

/** Not yet decided: the client asks again, and `poll` gets this id. */
export interface Wait {
  readonly decision: "wait";
  readonly id: string;
}

export type Decision = Grant | Denial | Wait;

export interface DischargeService {
  /** The secret key, as `postern keygen --alg x25519` writes it. */
  readonly key: string;
  /** Where it is mounted, as the caveats say it. */
  readonly location: string;
  /** @param request as it came, its body aside: who asks is the application's to find out */
  check(condition: string, request: Request): Decision | Promise<Decision>;
  /** Needed where `check` may answer `wait`. */
  poll?(id: string, condition: string, request: Request): Decision | Promise<Decision>;
  /** ms since the epoch. */
  readonly now_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

/** @throws where key or location are none */
export function dischargeService(service: DischargeService): Hono {
  const key = readServiceKey(service.key);
  if (key === undefined) throw new RangeError("the key is none as `postern keygen --alg x25519` writes them");
  if (!isLocation(service.location))
    throw new RangeError("the location is no http or https URL without query");
  const desk = new Desk(service, key);
  const app = new Hono();
  app.post("/discharge", (c) => desk.answer(() => desk.ask(c.req.raw)));
  app.get("/discharge/:waiting", (c) => desk.answer(() => desk.askAgain(c.req.param("waiting"), c.req.raw)));
  return app;
}

class Desk {
  readonly #service: DischargeService;
  readonly #key: ServiceKey;

  constructor(service: DischargeService, key: ServiceKey) {
    this.#service = service;
    this.#key = key;
  }

  async answer(work: () => Promise<Response | Refusal>): Promise<Response> {
    const answer = await work();
    return isRefusal(answer) ? problemResponse(answer, toHex(this.#service.random(8))) : answer;
  }

  async ask(request: Request): Promise<Response | Refusal> {
    const ticket = await readTicket(request);
    if (isRefusal(ticket)) return ticket;
    const open = this.#open(ticket);
    if (isRefusal(open)) return open;
    const decision = await this.#service.check(open.condition, request);
    return this.#answer(ticket, open, decision, this.#service.now_ms() + POLL_LIFETIME_MS);
  }

  async askAgain(sealed: string, request: Request): Promise<Response | Refusal> {
    const waiting = openWaiting(sealed, this.#key.secret);
    if (waiting === undefined) return refuse("malformed_request", "this is no poll_url of this service");
    const { ticket, id, until_ms } = waiting;
    if (this.#service.now_ms() >= until_ms)
      return refuse("discharge_denied", "nobody has decided in time: ask anew with the ticket");
    const open = this.#open(ticket);
    if (isRefusal(open)) return open;
    if (this.#service.poll === undefined) throw new Error("the service has no `poll`");
    const decision = await this.#service.poll(id, open.condition, request);
    return this.#answer(ticket, open, decision, until_ms);
  }

  #open(ticket: Uint8Array): OpenTicket | Refusal {
    return (
      openTicket(ticket, this.#key.secret) ??
      refuse("malformed_request", "the ticket was not sealed for this service's key")
    );
  }

  /** @param until_ms how long it may wait; asking again does not prolong it */
  #answer(ticket: Uint8Array, open: OpenTicket, decision: Decision, until_ms: number): Response | Refusal {
    switch (decision.decision) {
      case "deny":
        return refuse("discharge_denied", decision.reason);
      case "wait":
        return this.#wait({ ticket, id: decision.id, until_ms });
      case "grant":
    }
    return this.#grant(ticket, open, decision);
  }

  #grant(ticket: Uint8Array, { rootKey }: OpenTicket, grant: Grant): Response {
    const { caveats = [], lifetime_ms = DISCHARGE_LIFETIME_MS } = grant;
    const { now_ms, location } = this.#service;
    const additions = [formatExpiry(now_ms() + lifetime_ms), ...caveats];
    const discharge = mintDischarge(ticket, rootKey, additions, location);
    if (isRefusal(discharge)) throw new Error(`the discharge cannot be made: ${discharge.detail}`);
    return json({ discharge: encodeToken(discharge) }, 200);
  }

  #wait(waiting: Waiting): Response {
    const { random, location } = this.#service;
    if (this.#service.poll === undefined) throw new Error("the service has no `poll`, so nothing can wait");
    if (waiting.id.length > POLL_ID_LENGTH_MAX)
      throw new Error(`an id has at most ${POLL_ID_LENGTH_MAX} characters`);
    const sealed = sealWaiting(waiting, this.#key.secret, random);
    return json({ poll_url: `${dischargeUrl(location)}/${sealed}` }, 202);
  }
}

async function readTicket(request: Request): Promise<Uint8Array | Refusal> {
  const wrong = requireJson(request.headers.get("content-type"));
  if (wrong !== undefined) return wrong;
  const body = await readBody(request, DISCHARGE_REQUEST_BYTES_MAX);
  if (isRefusal(body)) return body;
  const parsed = parseJson(body);
  if (isRefusal(parsed)) return parsed;
  const ticket = isJsonObject(parsed.value) ? parsed.value["ticket"] : undefined;
  const bytes = typeof ticket === "string" ? fromBase64url(ticket) : undefined;
  return bytes ?? refuse("malformed_request", 'the body must be {"ticket":"…"}, the ticket in base64url');
}

function json(body: unknown, status: number): Response {
  return Response.json(body, { status, headers: { "cache-control": "no-store" } });
}
