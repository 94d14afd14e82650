/** The token commands: shapes of `--json`, exit codes, secrets kept where they belong. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { must } from "../support/gate.ts";
import { json, postern } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-cli-"));
const store = `file:${join(directory, "store")}`;
const file = (name: string): string => join(directory, name);
const HOLDER = "a".repeat(64);
let token: string;

beforeAll(async () => {
  expect(await postern(["apply", "policies", "--store", store])).toMatchObject({
    code: 0,
    stdout: "demo: published\n",
  });
  const minted = await json(["mint", "--store", store, "--actor", "account/42", "--holder", HOLDER]);
  token = String(minted["token"]);
  writeFileSync(file("token"), `${token}\n`);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("keygen", () => {
  it("prints a key pair, or keeps the secret in a new file of mode 0600", async () => {
    const { secret_key, public_key } = await json(["keygen"]);
    expect([secret_key, public_key]).toEqual([
      expect.stringMatching(/^[0-9a-f]{64}$/),
      expect.stringMatching(/^[0-9a-f]{64}$/),
    ]);
    const { code, stdout } = await postern(["keygen", "--out", file("key")]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) });
    expect(statSync(file("key")).mode & 0o777).toBe(0o600);
    expect(readFileSync(file("key"), "utf8").trim()).not.toBe(stdout.trim());
    expect(await postern(["keygen", "--out", file("key")])).toMatchObject({ code: 2 });
  });
});

describe("keygen --alg", () => {
  it("makes keys of every scheme, told apart by their names", async () => {
    const { secret_key, public_key } = await json(["keygen", "--alg", "ed25519"]);
    expect([secret_key, public_key]).toEqual([
      expect.stringMatching(/^ed25519:[0-9a-f]{64}$/),
      expect.stringMatching(/^ed25519:[0-9a-f]{64}$/),
    ]);
    const service = await json(["keygen", "--alg", "x25519"]);
    expect([service["secret_key"], service["public_key"]]).toEqual([
      expect.stringMatching(/^x25519:[0-9a-f]{64}$/),
      expect.stringMatching(/^x25519:[0-9a-f]{64}$/),
    ]);
    const { public_key: usual } = await json(["keygen", "--alg", "bip340"]);
    expect(usual).toMatch(/^[0-9a-f]{64}$/);
    expect(await postern(["keygen", "--alg", "rsa"])).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("mint", () => {
  it("gives actor, expiry, holder and the policy's protocol unless told less", async () => {
    const { caveats, identifier, tenant, kid, size_bytes } = await json([
      "inspect",
      "--token",
      file("token"),
    ]);
    expect(caveats).toMatchObject([
      { text: "actor = account/42", verified: false },
      { text: expect.stringMatching(/^expires < \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) },
      { text: `holder = ${HOLDER}` },
      { text: "protocol = open ; (deposit | withdraw | balance)* ; close" },
    ]);
    expect({ identifier, tenant, kid }).toEqual({
      identifier: expect.stringMatching(/^postern\/1 tenant=demo kid=1 nonce=\S{22}$/),
      tenant: "demo",
      kid: 1,
    });
    expect(size_bytes).toBeLessThan(400);
    const less = await json([
      "mint",
      "--store",
      store,
      "--actor",
      "account/*",
      "--holder",
      HOLDER,
      "--protocol",
      "balance*",
      "--caveat",
      "message in balance",
    ]);
    const read = await json(["inspect"], { stdin: String(less["token"]) });
    expect(read["caveats"]).toMatchObject([
      {},
      {},
      {},
      { text: "protocol = balance*" },
      { text: "message in balance" },
    ]);
  });

  it.each([
    ["no actor", ["--holder", HOLDER]],
    ["an unknown actor type", ["--actor", "ledger/1", "--holder", HOLDER]],
    ["no holder, which the tenant requires", ["--actor", "account/1"]],
    ["a holder that is no key", ["--actor", "account/1", "--holder", "ada"]],
    ["an expiry that is no time", ["--actor", "account/1", "--holder", HOLDER, "--expires", "soon"]],
    ["a protocol with a mistake", ["--actor", "account/1", "--holder", HOLDER, "--protocol", "open ; ("]],
    [
      "a caveat that no gate knows",
      ["--actor", "account/1", "--holder", HOLDER, "--caveat", "colour = blue"],
    ],
    ["a condition that is not CEL", ["--actor", "account/1", "--holder", HOLDER, "--when", "args.amount <="]],
    ["a condition about nothing", ["--actor", "account/1", "--holder", HOLDER, "--when", "arg.amount < 5"]],
    ["an address that is none", ["--actor", "account/1", "--holder", HOLDER, "--client-ip", "localhost"]],
    ["no use at all", ["--actor", "account/1", "--holder", HOLDER, "--uses", "0"]],
    ["a rate without a period", ["--actor", "account/1", "--holder", HOLDER, "--rate", "10"]],
    ["an audience that is no origin", ["--actor", "account/1", "--holder", HOLDER, "--audience", "gate"]],
    ["an unknown tenant", ["--actor", "account/1", "--holder", HOLDER, "--tenant", "nobody"]],
    ["an unknown option", ["--actor", "account/1", "--colour", "blue"]],
  ])("refuses %s", async (what, args) => {
    const { code, stdout, stderr } = await postern(["mint", "--store", store, ...args]);
    expect({ code, stdout }).toEqual({ code: what === "an unknown tenant" ? 1 : 2, stdout: "" });
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
  });

  it("shows the place of a mistake in a protocol", async () => {
    const { stderr } = await postern([
      "mint",
      "--store",
      store,
      "--actor",
      "account/1",
      "--holder",
      HOLDER,
      "--protocol",
      "open ; | close",
    ]);
    expect(stderr).toContain("column 8");
    expect(stderr).toContain("\n  open ; | close\n         ^\n");
  });

  it("shows the place of a mistake in a condition", async () => {
    const args = ["mint", "--store", store, "--actor", "account/1", "--holder", HOLDER];
    const { stderr } = await postern([...args, "--when", "args.amount <= 100 or true"]);
    expect(stderr).toContain(
      "\n  args.amount <= 100 or true\n                     ^\nits condition is not CEL: column 20",
    );
  });

  it("says so where there is no store, and makes none; or where the master key is another", async () => {
    const absent = await postern(["mint", "--store", `file:${file("absent")}`, "--actor", "account/1"]);
    expect(absent).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no store") });
    expect(existsSync(file("absent"))).toBe(false);
    const env = { POSTERN_MASTER_KEY: "0".repeat(64) };
    const { code, stderr } = await postern(
      ["mint", "--store", store, "--actor", "account/1", "--holder", HOLDER],
      { env },
    );
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining("master key") });
  });
});

describe("attenuate", () => {
  it("works offline, from a file or from standard input", async () => {
    for (const [args, options] of [
      [["--token", file("token")], {}],
      [[], { stdin: token }],
    ] as const) {
      const { code, stdout } = await postern(
        ["attenuate", ...args, "--message", "deposit,balance", "--expires", "15m"],
        options,
      );
      expect(code).toBe(0);
      const read = await json(["inspect"], { stdin: stdout });
      const texts = (read["caveats"] as { text: string }[]).map(({ text }) => text);
      expect(texts.slice(4)).toEqual([expect.stringMatching(/^expires < /), "message in deposit,balance"]);
    }
  });

  it("writes what other libraries read, and reads it back as the same token", async () => {
    const args = ["attenuate", "--token", file("token"), "--caveat", "message in deposit", "--format"];
    const same = (await postern([...args, "pst"])).stdout;
    const starts: Readonly<Record<string, RegExp>> = { v1: /^MDA/, v2: /^AgEH/, json: /^\{"v":2,/ };
    for (const [format, start] of Object.entries(starts)) {
      const { code, stdout } = await postern([...args, format]);
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(start) });
      const back = await postern(["attenuate", "--caveat", "message in deposit"], { stdin: stdout });
      const again = await postern(["attenuate", "--caveat", "message in deposit"], { stdin: same });
      expect(back).toEqual(again);
    }
    expect(await postern([...args, "v3"])).toMatchObject({ code: 2, stdout: "" });
  });

  it("does not bind a token to a second key, which would make it nobody's", async () => {
    const { code, stderr } = await postern(["attenuate", "--holder", "b".repeat(64)], { stdin: token });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("postern delegate") });
    expect(await postern(["attenuate", "--holder", HOLDER], { stdin: token })).toMatchObject({ code: 0 });
  });

  it("does not narrow a token away from its discharges", async () => {
    const { code, stderr } = await postern(["attenuate", "--message", "a"], { stdin: `${token},${token}` });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("narrow the token alone") });
  });

  it("writes every kind of caveat from its flag, in the order in which a token carries them", async () => {
    const flags = {
      "--audience": "https://gate.example",
      "--client-ip": "192.0.2.7, 2001:db8::/32",
      "--message": "deposit",
      "--when": "args.amount <= 100\n  && message == 'deposit'",
      "--uses": "3",
      "--rate": "10/m",
      "--not-before": "2020-01-01T00:00:00Z",
    };
    const args = Object.entries(flags).flat();
    const { token: narrowed } = await json(["attenuate", "--token", file("token"), ...args]);
    const { caveats } = await json(["inspect"], { stdin: String(narrowed) });
    const added = (caveats as { text: string; known: boolean }[]).slice(4);
    expect(added.map(({ text }) => text)).toEqual([
      "not_before >= 2020-01-01T00:00:00Z",
      "audience = https://gate.example",
      "client_ip in 192.0.2.7/32,2001:db8::/32",
      "message in deposit",
      "when = args.amount <= 100 && message == 'deposit'",
      "uses <= 3",
      "rate <= 10/m",
    ]);
    expect(added.every(({ known }) => known)).toBe(true);
  });

  it("refuses a cut token, a protocol that is a bomb, and nothing to add", async () => {
    const cut = await postern(["attenuate", "--message", "a"], { stdin: token.slice(0, -5) });
    expect(cut).toMatchObject({ code: 1, stderr: expect.stringContaining("token_truncated") });
    const bomb = Array.from({ length: 12 }, (_, i) => `o${i};u${i}*;c${i}`).join("&");
    expect(await postern(["attenuate", "--protocol", bomb], { stdin: token })).toMatchObject({ code: 2 });
    expect(await postern(["attenuate"], { stdin: token })).toMatchObject({ code: 2 });
  });
});

describe("delegate", () => {
  const keys = async (name: string, ...alg: string[]): Promise<string> => {
    const { stdout } = await postern(["keygen", "--out", file(name), ...alg]);
    return stdout.trim();
  };

  it("hands a token on, offline, with restrictions before it", async () => {
    const [ada, bob] = [await keys("ada.key"), await keys("bob.key", "--alg", "ed25519")];
    const minted = await json(["mint", "--store", store, "--actor", "account/42", "--holder", ada]);
    const stdin = String(minted["token"]);
    const args = ["delegate", "--to", bob, "--key", file("ada.key"), "--message", "balance"];
    const { token: delegated } = await json(args, { stdin });
    const { caveats, status } = await json(["inspect", "--store", store], { stdin: String(delegated) });
    expect((caveats as { text: string }[]).slice(4).map(({ text }) => text)).toEqual([
      "message in balance",
      expect.stringMatching(new RegExp(`^delegate = ${bob} [0-9a-f]{128}$`)),
    ]);
    expect(status).toBe("verified");
    const explained = ["explain", "--actor", "account/42", "--message", "balance", "--after", "open"];
    const { allowed, checks } = await json(explained, { stdin: String(delegated) });
    expect(allowed).toBe(true);
    expect((checks as unknown[]).at(-1)).toEqual({
      caveat: expect.stringContaining("delegate = "),
      ok: null,
      reason: "not checked: the former holder's signature is verified at the gate",
    });
    const byAda = await json([...explained, "--signer", ada], { stdin: String(delegated) });
    expect(byAda).toMatchObject({ allowed: false });
  });

  it("is for the holder alone", async () => {
    const eve = await keys("eve.key");
    const { code, stdout, stderr } = await postern(["delegate", "--to", eve, "--key", file("eve.key")], {
      stdin: token,
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("this key cannot hand the token on");
    for (const args of [
      ["--to", eve],
      ["--key", file("eve.key")],
      ["--to", eve, "--key", file("eve.key"), "--holder", eve],
    ])
      expect(await postern(["delegate", ...args], { stdin: token })).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("split and restrict", () => {
  const stored = (name: string, content: unknown): string => {
    writeFileSync(file(name), `${String(content)}\n`);
    return file(name);
  };

  it("write tokens offline, each with a fresh label where they are halves", async () => {
    const args = [
      "--token",
      file("token"),
      "--protocol",
      "deposit*",
      "--protocol",
      "withdraw*",
      "--after",
      "open",
    ];
    const { tokens } = await json(["split", ...args, "--expires", "15m"]);
    const again = await json(["split", ...args]);
    const labels = new Set<string>();
    for (const part of [...(tokens as string[]), ...(again["tokens"] as string[])]) {
      const { caveats } = await json(["inspect", "--token", stored("part", part), "--store", store]);
      const [text = ""] = (caveats as { text: string; verified: boolean }[])
        .slice(-1)
        .map((caveat) => caveat.text);
      expect(text).toMatch(/^protocol = (deposit|withdraw)\* @ [0-9a-f]{8}$/);
      labels.add(text.slice(-8));
    }
    expect(labels.size).toBe(4);
    const { token: less } = await json(["restrict", "--token", file("token"), "--protocol", "open ; close"]);
    const read = await json(["inspect"], { stdin: String(less) });
    expect(read["caveats"]).toMatchObject([{}, {}, {}, {}, { text: "protocol = open ; close", known: true }]);
  });

  it("refuse what does not fit, with a shortest word", async () => {
    const split = [
      "split",
      "--token",
      file("token"),
      "--protocol",
      "deposit",
      "--protocol",
      "close",
      "--after",
      "open",
    ];
    expect(await postern(split)).toMatchObject({ code: 1, stdout: "" });
    expect(await json(split)).toMatchObject({
      error: { code: "out_of_order", word: ["close", "deposit"], caveat: { index: 3 }, enabled: [] },
    });
    const restrict = await json(["restrict", "--token", file("token"), "--protocol", "deposit"]);
    expect(restrict).toMatchObject({ error: { code: "out_of_order", word: ["deposit"], enabled: ["open"] } });
  });

  it("show the place of a mistake", async () => {
    const { code, stderr } = await postern([
      "restrict",
      "--token",
      file("token"),
      "--protocol",
      "open ; | close",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("\n  open ; | close\n         ^\nprotocol, column 8: expected a message");
  });

  it("need a protocol; a split one for each part", async () => {
    for (const args of [["split"], ["split", "--protocol", "a"], ["restrict"]])
      expect(await postern(args, { stdin: token })).toMatchObject({ code: 2, stdout: "" });
  });

  it("leave an explanation of each half in place", async () => {
    const { tokens } = await json([
      "split",
      "--token",
      file("token"),
      "--protocol",
      "deposit",
      "--protocol",
      "withdraw",
      "--after",
      "open",
    ]);
    const half = stored("half", (tokens as string[])[0]);
    const { checks } = await json([
      "explain",
      "--token",
      half,
      "--actor",
      "account/42",
      "--message",
      "withdraw",
    ]);
    expect((checks as unknown[]).at(-1)).toMatchObject({
      caveat: expect.stringMatching(/^protocol = deposit @ /),
      ok: false,
      reason: "after nothing it admits deposit, not withdraw",
    });
  });
});

describe("inspect", () => {
  it("verifies with a store, and tells a widened token", async () => {
    const good = await postern(["inspect", "--token", file("token"), "--store", store]);
    expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining("verified") });
    const macaroon = must(decodeToken(token));
    const widened = encodeToken({ ...macaroon, unsafeCaveats: macaroon.unsafeCaveats.slice(0, -1) });
    expect(await postern(["inspect", "--store", store], { stdin: widened })).toMatchObject({ code: 1 });
    const otherKey = macaroon.identifier.map((byte, i) =>
      String.fromCharCode(...macaroon.identifier.slice(i - 4, i)) === "kid=" ? byte + 1 : byte,
    );
    const forged = encodeToken({ ...macaroon, identifier: otherKey });
    expect(await postern(["inspect", "--store", store], { stdin: forged })).toMatchObject({ code: 1 });
  });
});

describe("inspect warns", () => {
  const warningsOf = async (...caveats: string[]): Promise<unknown> => {
    const args = ["attenuate", "--token", file("token"), ...caveats.flatMap((text) => ["--caveat", text])];
    const { stdout } = await postern(args);
    return (await json(["inspect"], { stdin: stdout }))["warnings"];
  };

  it("of what a gate would refuse, or a server before it", async () => {
    expect(await warningsOf("message in open")).toEqual([]);
    expect(await warningsOf("expires < 2020-01-01T00:00:00Z")).toEqual([
      "it has expired: expires < 2020-01-01T00:00:00Z",
    ]);
    const macaroon = must(decodeToken(token));
    const second = { cid: new TextEncoder().encode(`holder = ${"b".repeat(64)}`) };
    const twice = encodeToken({ ...macaroon, unsafeCaveats: [...macaroon.unsafeCaveats, second] });
    expect(await json(["inspect"], { stdin: twice })).toMatchObject({
      warnings: ["its holder caveats contradict each other: nobody can use it"],
    });
    const long = Array.from(
      { length: 8 },
      (_, i) => `message in ${`m${i}`.padEnd(50, "x")},${"y".repeat(60)}`,
    );
    expect(await warningsOf(...long, ...long, ...long, ...long)).toEqual([
      expect.stringMatching(/^as text it has \d+ characters: many servers/),
    ]);
  });

  it("of a token that whoever has it can use", async () => {
    const free = encodeToken({ ...must(decodeToken(token)), unsafeCaveats: [] });
    const { stdout } = await postern(["inspect"], { stdin: free });
    expect(stdout).toContain("\nwarning: it is bound to no key: whoever has it can use it\n");
  });

  it("not of discharges, which it shows", async () => {
    const { stdout } = await postern(["inspect"], { stdin: `${token},${token}` });
    expect(stdout).toMatch(
      /not checked\nwith a discharge that no caveat asks for\npostern\/1 tenant=demo .*\n {2}0 {2}actor = /,
    );
    expect(stdout).toContain("warning: discharge 1 is for no caveat: a gate refuses it");
    expect(await json(["inspect"], { stdin: `${token},${token}` })).toMatchObject({
      discharges: [{ caveats: [{ text: "actor = account/42", verified: false }, {}, {}, {}] }],
    });
  });
});

describe("explain", () => {
  const ask = (...args: string[]) => json(["explain", "--token", file("token"), ...args]);

  it("tells caveat by caveat why a call passes or fails", async () => {
    const open = await ask("--actor", "account/42", "--message", "open");
    expect(open).toMatchObject({ allowed: true });
    const early = await ask("--actor", "account/42", "--message", "deposit");
    expect(early).toMatchObject({
      allowed: false,
      checks: [
        { ok: true },
        { ok: true },
        { ok: true },
        { ok: false, reason: "after nothing it admits open, not deposit" },
      ],
    });
    expect(await ask("--actor", "account/42", "--message", "deposit", "--after", "open")).toMatchObject({
      allowed: true,
    });
    const elsewhere = await ask(
      "--actor",
      "account/43",
      "--message",
      "open",
      "--at",
      "2090-01-01T00:00:00Z",
      "--signer",
      "b".repeat(64),
    );
    expect(elsewhere).toMatchObject({
      allowed: false,
      checks: [{ ok: false }, { ok: false }, { ok: false }, { ok: true }],
    });
  });

  it("tells what only the gate knows as not checked, until it is said", async () => {
    const caveats = [
      "when = args.amount <= 100",
      "when = client.ip == '192.0.2.7' && args.amount > 0",
      "client_ip in 192.0.2.0/24",
      "audience = https://gate.example",
      "uses <= 3",
      "rate <= 10/m",
      "when = message == 'open'",
    ];
    const { stdout } = await postern([
      "attenuate",
      "--token",
      file("token"),
      ...caveats.flatMap((text) => ["--caveat", text]),
    ]);
    const call = ["explain", "--actor", "account/42", "--message", "open"];
    const checked = async (...more: string[]): Promise<unknown[]> => {
      const { checks } = await json([...call, ...more], { stdin: stdout });
      return (checks as { ok: unknown }[]).slice(4).map(({ ok }) => ok);
    };
    expect(await checked()).toEqual([null, null, null, null, null, null, true]);
    expect(await checked("--args", '{"amount":5}')).toEqual([true, null, null, null, null, null, true]);
    const known = ["--client-ip", "192.0.2.7", "--authority", "gate.example"];
    expect(await checked("--args", '{"amount":5}', ...known)).toEqual([
      true,
      true,
      true,
      true,
      null,
      null,
      true,
    ]);
    expect(await checked("--args", '{"amount":500}')).toEqual([false, null, null, null, null, null, true]);
    expect(await checked("--client-ip", "192.0.3.7")).toEqual([null, null, false, null, null, null, true]);
    const { code, stdout: text } = await postern(call, { stdin: stdout });
    expect(code).toBe(0);
    expect(text).toContain("gate  when = args.amount <= 100\n      not checked: say --args\n");
    expect(text).toContain("not checked: say --args and --client-ip\n");
    expect(text).toMatch(/\nallowed, as far as can be told offline\n$/);
    for (const wrong of [
      ["--args", "{"],
      ["--client-ip", "here"],
    ])
      expect(await postern([...call, ...wrong], { stdin: stdout })).toMatchObject({ code: 2 });
  });

  it("fails as a check does", async () => {
    const { code } = await postern([
      "explain",
      "--token",
      file("token"),
      "--actor",
      "account/42",
      "--message",
      "close",
    ]);
    expect(code).toBe(1);
  });
});

describe("what stands in a token", () => {
  it("does not reach the terminal as control characters", async () => {
    const macaroon = must(decodeToken(token));
    const caveat = { cid: new TextEncoder().encode("x\u001b[2K\rholder = 00\n  9  actor = account/1") };
    const hostile = encodeToken({ ...macaroon, unsafeCaveats: [...macaroon.unsafeCaveats, caveat] });
    for (const args of [["inspect"], ["explain", "--actor", "account/42", "--message", "open"]]) {
      const { stdout } = await postern(args, { stdin: hostile });
      expect(stdout).toContain("x\\x1b[2K\\x0d");
      expect(stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
      expect(stdout).not.toMatch(/^ {2}9 /m);
    }
  });
});

describe("arguments that no command takes", () => {
  it("are wrong usage, and are not repeated", async () => {
    for (const args of [
      ["keygen", "more"],
      ["inspect", token],
      ["mint", "x"],
    ]) {
      const { code, stdout, stderr } = await postern(args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).not.toContain(token);
    }
  });
});

describe("secrets", () => {
  it("are in no output of a command that reads them", async () => {
    const macaroon = must(decodeToken(token));
    const signature = Buffer.from(macaroon.signature);
    for (const args of [
      ["inspect"],
      ["inspect", "--json"],
      ["explain", "--actor", "account/42", "--message", "open", "--json"],
    ]) {
      const { stdout, stderr } = await postern(args, { stdin: token });
      for (const secret of [token.slice(-30), signature.toString("hex"), signature.toString("base64url")])
        expect(stdout + stderr).not.toContain(secret);
    }
  });
});
