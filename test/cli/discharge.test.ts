/** Third parties on the command line: the flag, `postern discharge`, and how the token is read afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toBase64url } from "../../src/bytes.ts";
import { readServiceKey } from "../../src/sdk/service-key.ts";
import { mintDischarge } from "../../src/token/discharge.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { openTicket } from "../../src/token/third-party.ts";
import { startService, type TestService } from "../support/discharge-service.ts";
import { must } from "../support/gate.ts";
import { json, postern } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-cli-"));
const store = `file:${join(directory, "store")}`;
let service: TestService;
let holder: { secret: string; public: string };
let polls = 0;
/** A token for account/42 that asks the service whether it may. */
let token: string;

const flag = (condition: string): string => `${service.location}=${service.key.publicKey}:${condition}`;

beforeAll(async () => {
  service = await startService({
    check: (condition) => {
      if (condition === "no") return { decision: "deny", reason: "nobody may" };
      if (condition.startsWith("wait")) return { decision: "wait", id: condition };
      return { decision: "grant", caveats: ["message in open,deposit"] };
    },
    poll: (id) => (++polls < 2 || id === "wait for ever" ? { decision: "wait", id } : { decision: "grant" }),
  });
  expect(await postern(["apply", "policies", "--store", store])).toMatchObject({ code: 0 });
  const made = await json(["keygen"]);
  holder = { secret: String(made["secret_key"]), public: String(made["public_key"]) };
  const common = ["--store", store, "--actor", "account/42", "--holder", holder.public];
  const minted = await json(["mint", ...common, "--third-party", flag("open: the account")]);
  token = String(minted["token"]);
});
afterAll(async () => {
  await service.end();
  rmSync(directory, { recursive: true, force: true });
});

const discharged = async (of = token): Promise<string> =>
  String((await json(["discharge", "--service", service.location], { stdin: of }))["token"]);

describe("--third-party", () => {
  it("adds a caveat that the service reads, in every command that writes caveats", async () => {
    const added = flag("a, b; c = d: 100%");
    const key = join(directory, "holder.key");
    writeFileSync(key, holder.secret);
    const to = String((await json(["keygen"]))["public_key"]);
    const asked: Record<string, readonly string[]> = {
      attenuate: ["--third-party", added],
      restrict: ["--third-party", added, "--protocol", "open"],
      delegate: ["--third-party", added, "--key", key, "--to", to],
      split: ["--third-party", added, "--protocol", "open", "--protocol", "end"],
    };
    const { secret } = readServiceKey(service.key.secret) ?? {};
    if (secret === undefined) throw new Error("no key");
    for (const [command, args] of Object.entries(asked)) {
      const made = await json([command, ...args], { stdin: token });
      const [narrowed = made["token"]] = (made["tokens"] as string[] | undefined) ?? [];
      const { unsafeCaveats } = must(decodeToken(String(narrowed)));
      const parties = unsafeCaveats.filter(({ vid }) => vid !== undefined);
      expect(
        parties.map(({ cid, location }) => [location, openTicket(cid, secret)?.condition]),
        command,
      ).toEqual([
        [service.location, "open: the account"],
        [service.location, "a, b; c = d: 100%"],
      ]);
    }
  });

  it.each([
    ["no key", "https://auth.example=please"],
    ["a holder's key", `https://auth.example=${"a".repeat(64)}:please`],
    ["no condition", `https://auth.example=x25519:${"a".repeat(64)}:`],
    ["a place that is no URL", `auth.example=x25519:${"a".repeat(64)}:please`],
    ["a key of low order", `https://auth.example=x25519:${"0".repeat(64)}:please`],
  ])("is wrong usage with %s", async (_, given) => {
    const { code, stderr } = await postern(["attenuate", "--third-party", given], { stdin: token });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("postern: --third-party") });
  });
});

describe("discharge", () => {
  it("prints the token with its discharge, which a gate's keys verify", async () => {
    const whole = await discharged();
    expect(whole.split(",")).toHaveLength(2);
    const read = await json(["inspect", "--store", store], { stdin: whole });
    expect(read).toMatchObject({
      status: "verified",
      caveats: [
        {},
        {},
        {},
        {},
        { text: `(third party at ${service.location})`, verified: true, discharge: 1 },
      ],
      discharges: [
        { caveats: [{ text: expect.stringMatching(/^expires < /) }, { text: "message in open,deposit" }] },
      ],
      warnings: [],
    });
    // Again, with what it printed: the discharges are fetched anew.
    expect((await discharged(whole)).split(",")[0]).toBe(whole.split(",")[0]);
  });

  it("asks only services that are listed", async () => {
    const before = service.requests();
    for (const args of [[], ["--service", "https://elsewhere.example"]]) {
      const { code, stderr } = await postern(["discharge", ...args], { stdin: token });
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("say --service") });
    }
    expect(service.requests()).toBe(before);
  });

  it("waits for a decision, as long as it is told", async () => {
    const narrowed = await json(["attenuate", "--third-party", flag("wait")], { stdin: token });
    expect((await discharged(String(narrowed["token"]))).split(",")).toHaveLength(3);
    const never = await json(["attenuate", "--third-party", flag("wait for ever")], { stdin: token });
    const impatient = ["discharge", "--service", service.location, "--timeout", "600ms"];
    expect(await postern(impatient, { stdin: String(never["token"]) })).toMatchObject({
      code: 3,
      stdout: "",
    });
  });

  it("says why it gets none", async () => {
    const denied = await json(["attenuate", "--third-party", flag("no")], { stdin: token });
    expect(
      await postern(["discharge", "--service", service.location], { stdin: String(denied["token"]) }),
    ).toEqual({ code: 1, stdout: "", stderr: "discharge_denied: nobody may\n" });
    const gone = `http://127.0.0.1:1=${service.key.publicKey}:please`;
    const lost = await json(["attenuate", "--third-party", gone], { stdin: token });
    const services = ["--service", service.location, "--service", "http://127.0.0.1:1"];
    expect(await postern(["discharge", ...services], { stdin: String(lost["token"]) })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("http://127.0.0.1:1 cannot be reached"),
    });
  });

  it("binds discharges that one has already, and asks nobody", async () => {
    const { secret } = readServiceKey(service.key.secret) ?? {};
    const [ticket] = must(decodeToken(token)).unsafeCaveats.flatMap(({ cid, vid }) => (vid ? [cid] : []));
    const open = secret && ticket && openTicket(ticket, secret);
    if (!open || !ticket) throw new Error("no ticket");
    const unbound = join(directory, "discharge");
    writeFileSync(unbound, encodeToken(must(mintDischarge(ticket, open.rootKey, [], ""))));
    const before = service.requests();
    const { token: whole } = await json(["discharge", "--bind", unbound], { stdin: token });
    expect(service.requests()).toBe(before);
    expect(await json(["inspect", "--store", store], { stdin: String(whole) })).toMatchObject({
      status: "verified",
    });
    writeFileSync(unbound, token);
    expect(await postern(["discharge", "--bind", unbound], { stdin: token })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("discharge 1 is for no third party of the token"),
    });
    expect(await postern(["discharge", "--bind", "-"], { stdin: token })).toMatchObject({ code: 2 });
    const both = ["discharge", "--bind", unbound, "--service", service.location];
    expect(await postern(both, { stdin: token })).toMatchObject({ code: 2 });
  });

  it("leaves a token without third parties as it is", async () => {
    const plain = await json(["mint", "--store", store, "--actor", "account/1", "--holder", holder.public]);
    expect(await discharged(String(plain["token"]))).toBe(plain["token"]);
  });
});

describe("vouch", () => {
  const keyFile = join(directory, "service.key");
  beforeAll(() => writeFileSync(keyFile, service.key.secret));

  it("shows what a token asks, and writes the discharge, without any service", async () => {
    const asked = await postern(["vouch", "--show", "--key", keyFile], { stdin: token });
    expect(asked).toEqual({ code: 0, stdout: "open: the account\n", stderr: "" });
    const flags = ["--message", "open", "--uses", "1"];
    const vouched = await json(["vouch", "--key", keyFile, ...flags], { stdin: token });
    const [unbound = ""] = vouched["discharges"] as string[];
    writeFileSync(join(directory, "vouched"), unbound);
    const { token: whole } = await json(["discharge", "--bind", join(directory, "vouched")], {
      stdin: token,
    });
    expect(await json(["inspect", "--store", store], { stdin: String(whole) })).toMatchObject({
      status: "verified",
      discharges: [
        {
          caveats: [
            { text: expect.stringMatching(/^expires < /) },
            { text: "message in open" },
            { text: "uses <= 1" },
          ],
        },
      ],
    });
  });

  it("needs no token where it has the ticket, and has nothing to say where nothing is asked of it", async () => {
    const { caveats } = await json(["inspect"], { stdin: token });
    const ticket = String((caveats as { ticket?: string }[]).at(-1)?.ticket);
    expect(await json(["vouch", "--show", "--key", keyFile, "--ticket", ticket])).toEqual({
      conditions: ["open: the account"],
    });
    const other = join(directory, "other.key");
    await postern(["keygen", "--alg", "x25519", "--out", other]);
    expect(await postern(["vouch", "--key", other], { stdin: token })).toMatchObject({ code: 1, stdout: "" });
    expect(await postern(["vouch", "--key", keyFile, "--ticket", "?"])).toMatchObject({ code: 2 });
    const order = ["vouch", "--key", keyFile, "--protocol", "open"];
    expect(await postern(order, { stdin: token })).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("inspect", () => {
  it("shows a discharge below its caveat, and what is missing", async () => {
    const { stdout } = await postern(["inspect"], { stdin: await discharged() });
    expect(stdout.split("\n").slice(5)).toEqual([
      `  4  (third party at ${service.location})`,
      expect.stringMatching(/^ {5}discharge 1, \d+ bytes$/),
      expect.stringMatching(/^ {7}0 {2}expires < /),
      "       1  message in open,deposit",
      expect.stringMatching(/^\d+ bytes; not checked$/),
      "",
    ]);
    const bare = await postern(["inspect", "--store", store], { stdin: token });
    expect(bare.code).toBe(0);
    expect(bare.stdout).toContain("     its discharge is missing\n");
    expect(bare.stdout).toContain(`verified, but caveat 4 needs a discharge from "${service.location}"`);
    const read = await json(["inspect"], { stdin: token });
    const ticket = must(decodeToken(token)).unsafeCaveats.at(-1)?.cid ?? new Uint8Array();
    expect((read["caveats"] as unknown[]).at(-1)).toEqual({
      text: `(third party at ${service.location})`,
      verified: false,
      known: false,
      ticket: toBase64url(ticket),
    });
  });

  it("fails where a discharge does not verify, and warns of one that has expired", async () => {
    const [root = "", discharge = ""] = (await discharged()).split(",");
    const macaroon = must(decodeToken(discharge));
    const forged = encodeToken({ ...macaroon, signature: new Uint8Array(32) });
    expect(await postern(["inspect", "--store", store], { stdin: `${root},${forged}` })).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("discharge 1 does not verify"),
    });
    const old = must(mintDischarge(macaroon.identifier, readKey(), ["expires < 2020-01-01T00:00:00Z"], ""));
    expect(await json(["inspect"], { stdin: `${root},${encodeToken(old)}` })).toMatchObject({
      warnings: ["discharge 1 has expired: expires < 2020-01-01T00:00:00Z"],
    });
  });
});

function readKey() {
  const key = readServiceKey(service.key.secret);
  if (key === undefined) throw new Error("no key");
  return key.secret;
}

describe("explain", () => {
  const ask = (stdin: string, message: string) =>
    json(["explain", "--actor", "account/42", "--message", message, "--after", "open"], { stdin });

  it("asks the caveats of discharges, and leaves to the gate whether they are genuine", async () => {
    const whole = await discharged();
    expect(await ask(whole, "deposit")).toMatchObject({
      allowed: true,
      checks: [
        {},
        {},
        {},
        {},
        { caveat: `(third party at ${service.location})`, ok: null },
        { token: 1, ok: true },
        { token: 1, caveat: "message in open,deposit", ok: true },
      ],
    });
    const withdrawn = await ask(whole, "withdraw");
    expect(withdrawn).toMatchObject({ allowed: false });
    expect((withdrawn["checks"] as unknown[]).at(-1)).toMatchObject({ token: 1, ok: false });
    const { stdout } = await postern(["explain", "--actor", "account/42", "--message", "withdraw"], {
      stdin: whole,
    });
    expect(stdout).toContain("FAIL  discharge 1: message in open,deposit\n");
  });

  it("says what is missing and what is too much", async () => {
    expect(await ask(token, "deposit")).toMatchObject({
      allowed: false,
      checks: [{}, {}, {}, {}, { ok: false, reason: expect.stringContaining("its discharge is missing") }],
    });
    const whole = await discharged();
    const strayed = await ask(`${whole},${whole.split(",")[1]}`, "deposit");
    expect((strayed["checks"] as unknown[]).at(-1)).toEqual({
      token: 2,
      caveat: "(discharge)",
      ok: false,
      reason: "no caveat asks for it",
    });
  });
});
