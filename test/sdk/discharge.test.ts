/** A discharge service and its clients, in simulated time: what is asked, kept, renewed, waited for and refused. */
import { beforeEach, describe, expect, test } from "vitest";
import { fromUtf8, toBase64url, utf8 } from "../../src/bytes.ts";
import { DISCHARGE_LIFETIME_MS, DISCHARGE_REQUEST_BYTES_MAX, POLL_LIFETIME_MS } from "../../src/limits.ts";
import { type Decision, type DischargeService, dischargeService } from "../../src/sdk/discharge.ts";
import { Discharges, type DischargesOptions } from "../../src/sdk/discharges.ts";
import { addThirdParty, newServiceKey, prepareThirdParty } from "../../src/sdk/third-party.ts";
import { decodeToken, decodeTokens, encodeToken } from "../../src/token/envelope.ts";
import { verify } from "../../src/token/verify.ts";
import { random } from "../support/gate.ts";
import { mint, SECRET } from "../token/arbitrary.ts";
import { refused, taken } from "../token/outcome.ts";

const PLACE = "https://approvals.example";
const KEY = newServiceKey(random);

let now_ms = 0;
/** Method and URL of everything that was sent. */
let sent: string[] = [];
beforeEach(() => {
  now_ms = Date.parse("2030-06-01T12:00:00Z");
  sent = [];
});

/** A service, and the way to it: what is sent elsewhere fails. */
function service(more: Partial<DischargeService> = {}, location = PLACE) {
  const app = dischargeService({
    key: KEY.secret,
    location,
    check: () => ({ decision: "grant" }),
    now_ms: () => now_ms,
    random,
    ...more,
  });
  const fetch: DischargesOptions["fetch"] = async (url, init) => {
    sent.push(`${init.method} ${url}`);
    if (!url.startsWith(location)) throw new TypeError("no such host");
    return app.request(url, init);
  };
  return { app, fetch };
}

function client(fetch: DischargesOptions["fetch"], more: Partial<DischargesOptions> = {}): Discharges {
  return new Discharges({
    services: [{ location: PLACE }],
    fetch,
    now_ms: () => now_ms,
    random,
    pause: async (ms) => {
      now_ms += ms;
    },
    ...more,
  });
}

const asking = (condition = "please", location = PLACE): string =>
  taken(addThirdParty(encodeToken(mint()), { location, publicKey: KEY.publicKey, condition }, random));

function verified(text: string) {
  const [root, ...discharges] = taken(decodeTokens(text));
  return taken(verify(root, SECRET, discharges));
}

const post = (ticket: unknown, headers: Record<string, string> = { "content-type": "application/json" }) => ({
  method: "POST",
  headers,
  body: JSON.stringify({ ticket }),
});

const ticketOf = (token: string): string =>
  toBase64url(taken(decodeToken(token)).unsafeCaveats.at(-1)?.cid ?? new Uint8Array());

describe("a service that decides at once", () => {
  test("grants what verifies beside the token, for five minutes, with the caveats that it says", async () => {
    const seen: string[] = [];
    const { fetch } = service({
      check: (condition) => {
        seen.push(condition);
        return { decision: "grant", caveats: ["when = args.amount <= 500"] };
      },
    });
    const text = taken(await client(fetch).complete(asking("withdraw, please")));
    expect(seen).toEqual(["withdraw, please"]);
    const [discharge] = verified(text).discharges;
    expect(discharge?.caveats.map(({ text: caveat }) => caveat)).toEqual([
      `expires < ${new Date(now_ms + DISCHARGE_LIFETIME_MS).toISOString()}`,
      "when = args.amount <= 500",
    ]);
  });

  test("denies with its reason", async () => {
    const { app, fetch } = service({ check: () => ({ decision: "deny", reason: "not on a Sunday" }) });
    const token = asking();
    expect(refused(await client(fetch).complete(token))).toMatchObject({
      code: "discharge_denied",
      detail: "not on a Sunday",
    });
    const response = await app.request("/discharge", post(ticketOf(token)));
    expect(response.status).toBe(403);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toMatchObject({ code: "discharge_denied", detail: "not on a Sunday" });
  });

  test("learns who asks from the request", async () => {
    const { fetch } = service({
      check: (_, request) =>
        request.headers.get("authorization") === "Bearer ada"
          ? { decision: "grant" }
          : { decision: "deny", reason: "who are you?" },
    });
    const token = asking();
    const services = [{ location: PLACE, headers: { authorization: "Bearer ada" } }];
    expect(verified(taken(await client(fetch, { services }).complete(token))).discharges).toHaveLength(1);
    expect(refused(await client(fetch).complete(token)).code).toBe("discharge_denied");
  });

  test.each([
    ["no JSON", 400, { ...post("x"), body: "{" }],
    ["another type", 400, post("x", { "content-type": "text/plain" })],
    ["no ticket", 400, post(undefined)],
    ["a ticket that is no text", 400, post(7)],
    ["one that is not base64url", 400, post("?")],
    ["one for another key", 400, post(toBase64url(new Uint8Array(100).fill(9)))],
    ["an empty one", 400, post("")],
    ["a body that is too large", 413, post("A".repeat(DISCHARGE_REQUEST_BYTES_MAX))],
  ])("refuses %s", async (_, status, init) => {
    const response = await service().app.request("/discharge", init);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({
      status,
      type: expect.stringContaining("urn:postern:problem:"),
    });
  });

  test("is not made with a key or a location that is none", () => {
    expect(() => service({ key: "00".repeat(32) })).toThrow("the key");
    expect(() => service({ location: "approvals.example" })).toThrow("the location");
  });
});

describe("a service that takes its time", () => {
  const decisions = new Map<string, Decision>();
  const slow = () =>
    service({
      check: (condition) => ({ decision: "wait", id: condition }),
      poll: (id) => decisions.get(id) ?? { decision: "wait", id },
    });

  test("is asked again and again, less and less often, until it grants", async () => {
    const { fetch } = slow();
    const began_ms = now_ms;
    const pauses: number[] = [];
    const patient = client(fetch, {
      pause: async (ms) => {
        pauses.push(ms);
        now_ms += ms;
        if (now_ms - began_ms > 40_000) decisions.set("until granted", { decision: "grant" });
      },
    });
    expect(verified(taken(await patient.complete(asking("until granted")))).discharges).toHaveLength(1);
    expect(sent[0]).toBe(`POST ${PLACE}/discharge`);
    expect(sent.slice(1).every((line) => line.startsWith(`GET ${PLACE}/discharge/`))).toBe(true);
    expect(pauses[0]).toBeLessThanOrEqual(500);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(10_000);
    expect(pauses.length).toBeLessThan(16);
  });

  test("may deny in the end", async () => {
    decisions.set("a denial", { decision: "deny", reason: "Rosa says no" });
    expect(refused(await client(slow().fetch).complete(asking("a denial")))).toMatchObject({
      code: "discharge_denied",
      detail: "Rosa says no",
    });
  });

  test("is waited for as long as there is patience", async () => {
    const began_ms = now_ms;
    const refusal = refused(await client(slow().fetch, { patience_ms: 20_000 }).complete(asking("never")));
    expect(refusal.code).toBe("deadline");
    expect(now_ms - began_ms).toBeLessThanOrEqual(20_000);
  });

  test("keeps nothing: what it must know is in the URL, sealed, and for a day", async () => {
    const token = asking("stateless");
    const first = (await (await slow().app.request("/discharge", post(ticketOf(token)))).json()) as {
      poll_url: string;
    };
    expect(first.poll_url).not.toContain("stateless");
    const path = first.poll_url.slice(PLACE.length);
    // Another instance with the same key goes on.
    expect((await slow().app.request(path)).status).toBe(202);
    decisions.set("stateless", { decision: "grant" });
    const granted = (await (await slow().app.request(path)).json()) as { discharge: string };
    expect(toBase64url(taken(decodeToken(granted.discharge)).identifier)).toBe(ticketOf(token));
    const other = dischargeService({
      key: newServiceKey(random).secret,
      location: PLACE,
      check: () => ({ decision: "grant" }),
      poll: () => ({ decision: "grant" }),
      now_ms: () => now_ms,
      random,
    });
    expect((await other.request(path)).status).toBe(400);
    for (let at = path.lastIndexOf("/") + 1; at < path.length; at += 7) {
      const changed = `${path.slice(0, at)}${path[at] === "A" ? "B" : "A"}${path.slice(at + 1)}`;
      expect((await slow().app.request(changed)).status, String(at)).toBe(400);
    }
    now_ms += POLL_LIFETIME_MS;
    expect((await slow().app.request(path)).status).toBe(403);
  });

  test("asking again prolongs nothing", async () => {
    const answer = async (path: string, init?: RequestInit) => {
      const body = (await (await slow().app.request(path, init)).json()) as { poll_url: string };
      return body.poll_url.slice(PLACE.length);
    };
    let path = await answer("/discharge", post(ticketOf(asking("prolonged"))));
    now_ms += POLL_LIFETIME_MS - 1;
    path = await answer(path);
    now_ms += 1;
    expect((await slow().app.request(path)).status).toBe(403);
  });

  test("without `poll` nothing can wait: that is a bug of the service, and no answer", async () => {
    const { app } = service({ check: () => ({ decision: "wait", id: "1" }) });
    app.onError((error, c) => c.text(error.message, 500));
    const response = await app.request("/discharge", post(ticketOf(asking())));
    expect([response.status, await response.text()]).toEqual([
      500,
      "the service has no `poll`, so nothing can wait",
    ]);
  });
});

describe("a client", () => {
  test("asks nobody for a token without third parties", async () => {
    const token = encodeToken(mint(["a = 1"]));
    expect(await client(service().fetch).complete(token)).toBe(token);
    expect(sent).toEqual([]);
  });

  test("asks only where the program said: a location in a caveat proves nothing", async () => {
    const token = asking("please", "http://169.254.169.254/latest");
    const refusal = refused(await client(service().fetch).complete(token));
    expect(refusal).toMatchObject({
      code: "discharge_missing",
      facts: { discharges: [{ location: "http://169.254.169.254/latest", ticket: ticketOf(token) }] },
    });
    expect(sent).toEqual([]);
  });

  test("asks nobody where one of several cannot be had", async () => {
    const party = { location: "https://elsewhere.example", publicKey: KEY.publicKey, condition: "x" };
    const token = taken(addThirdParty(asking(), party, random));
    expect(refused(await client(service().fetch).complete(token)).code).toBe("discharge_missing");
    expect(sent).toEqual([]);
  });

  test.each([
    "https://elsewhere.example/discharge/x",
    `${PLACE}.evil.example/discharge/x`,
    `${PLACE}@evil.example/discharge/x`,
    `${PLACE}/other`,
    "/discharge/x",
    "",
  ])("does not follow a poll_url to %j", async (poll_url) => {
    const fetch: DischargesOptions["fetch"] = async (url) => {
      sent.push(url);
      return Response.json({ poll_url }, { status: 202 });
    };
    expect(refused(await client(fetch).complete(asking())).code).toBe("discharge_missing");
    expect(sent).toHaveLength(1);
  });

  test("follows no redirect", async () => {
    const fetch: DischargesOptions["fetch"] = async (_, { redirect }) => {
      expect(redirect).toBe("error");
      return Response.json({}, { status: 307, headers: { location: "http://127.0.0.1/" } });
    };
    expect(refused(await client(fetch).complete(asking())).code).toBe("discharge_missing");
  });

  test("takes no discharge of another ticket, and nothing that is none", async () => {
    for (const body of [{ discharge: encodeToken(mint()) }, { discharge: 7 }, {}, [], null, "x"]) {
      const refusal = refused(await client(async () => Response.json(body)).complete(asking()));
      expect(refusal.code).toBe("discharge_missing");
    }
  });

  test("says of a service that does not answer, or fails, that it may answer later", async () => {
    const down = client(async () => {
      throw new TypeError("connection refused");
    });
    expect(refused(await down.complete(asking()))).toMatchObject({
      code: "overloaded",
      detail: `the third party at ${PLACE} cannot be reached: connection refused`,
    });
    const failing = client(async () => Response.json({}, { status: 502 }));
    expect(refused(await failing.complete(asking())).code).toBe("overloaded");
  });

  test("a poll that fails is repeated, for the decision does not depend on it", async () => {
    const { fetch } = service({
      check: () => ({ decision: "wait", id: "1" }),
      poll: () => ({ decision: "grant" }),
    });
    let polls = 0;
    const flaky = client(async (url, init) => {
      if (init.method === "GET" && ++polls === 1) throw new TypeError("reset");
      if (init.method === "GET" && polls === 2) return Response.json({}, { status: 503 });
      return fetch(url, init);
    });
    expect(verified(taken(await flaky.complete(asking()))).discharges).toHaveLength(1);
    expect(polls).toBe(3);
  });

  test("keeps a discharge, binds it to each token anew, and renews it before it ends, while nobody waits", async () => {
    const { fetch } = service();
    const discharges = client(fetch);
    const token = asking();
    const first = taken(await discharges.complete(token));
    now_ms += DISCHARGE_LIFETIME_MS - 31_000;
    expect(await discharges.complete(token)).toBe(first);
    // The same caveat of a narrower token: another binding, no other question.
    const narrower = taken(addThirdParty(token, { ...PARTY, condition: "more" }, random));
    expect(verified(taken(await discharges.complete(narrower))).discharges).toHaveLength(2);
    expect(sent).toHaveLength(2);
    now_ms += 2_000;
    expect(await discharges.complete(token)).toBe(first);
    await settled();
    expect(sent).toHaveLength(3);
    const renewed = taken(await discharges.complete(token));
    expect(renewed).not.toBe(first);
    expect(sent).toHaveLength(3);
  });

  test("where it cannot be renewed, it is good until it ends", async () => {
    let down = false;
    const { fetch } = service();
    const discharges = client(async (url, init) => {
      if (down) throw new TypeError("down");
      return fetch(url, init);
    });
    const token = asking();
    const first = taken(await discharges.complete(token));
    down = true;
    now_ms += DISCHARGE_LIFETIME_MS - 1;
    expect(await discharges.complete(token)).toBe(first);
    now_ms += 1;
    expect(refused(await discharges.complete(token)).code).toBe("overloaded");
    down = false;
    expect(verified(taken(await discharges.complete(token))).discharges).toHaveLength(1);
  });

  test("asks once, however many wait for it", async () => {
    const { fetch } = service();
    const discharges = client(fetch);
    const token = asking();
    const all = await Promise.all(Array.from({ length: 8 }, () => discharges.complete(token)));
    expect(new Set(all).size).toBe(1);
    expect(sent).toHaveLength(1);
    // A refusal is not kept.
    const denying = client(service({ check: () => ({ decision: "deny", reason: "no" }) }).fetch);
    await denying.complete(token);
    await denying.complete(token);
    expect(sent).toHaveLength(3);
  });

  test("fetches what a discharge asks for in turn, and refuses one that never ends", async () => {
    const inner = (): Decision => ({
      decision: "grant",
      caveats: [taken(prepareThirdParty({ ...PARTY, condition: "inner" }, random))],
    });
    const { fetch } = service({
      check: (condition) => (condition === "outer" ? inner() : { decision: "grant" }),
    });
    const nested = verified(taken(await client(fetch).complete(asking("outer"))));
    expect(nested.discharges.map(({ discharges }) => discharges.token)).toEqual([0, 1]);
    const endless = service({ check: inner });
    expect(refused(await client(endless.fetch).complete(asking())).code).toBe("discharge_missing");
  });

  test("sends no text of a condition or a key in the clear", async () => {
    const token = asking("a secret wish");
    expect(fromUtf8(utf8(token))).not.toContain("wish");
    const texts = taken(decodeToken(token)).unsafeCaveats.map(({ cid }) => String.fromCharCode(...cid));
    expect(texts.some((text) => text.includes("wish"))).toBe(false);
  });
});

const PARTY = { location: PLACE, publicKey: KEY.publicKey, condition: "please" };

/** Everything that was begun and waits for no clock. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
