/** Credentials by web identity: a scripted token service on a real socket, and a clock that the test sets. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { fetch } from "undici";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fromUtf8 } from "../../src/bytes.ts";
import { S3_READ_ATTEMPTS_MAX, STS_LIFETIME_MS_MAX, STS_PAUSE_MS } from "../../src/limits.ts";
import { type CredentialsSource, type S3Credentials, s3Store } from "../../src/store/s3.ts";
import { webIdentity } from "../../src/store/web-identity.ts";
import { s3Options } from "../support/s3-options.ts";

interface Said {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}
type Script = (asked: number) => Said | "silence" | "cut";

const SPEED = 20;
const HOUR_MS = 3_600_000;
const SERVER_MS = Date.UTC(2031, 5, 1, 12);
const TOKEN = "eyJ.the-identity-token.sig";

let server: Server;
let script: Script;
let forms: URLSearchParams[];
let clock_ms: number;
let token: () => Promise<string>;
let source: CredentialsSource;

beforeEach(async () => {
  forms = [];
  clock_ms = 0;
  token = async () => `${TOKEN}\n`;
  script = (asked) => granted(asked);
  server = createServer((request, response) => void serve(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  source = identity(() => 0.5);
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  forms.push(new URLSearchParams(await bodyOf(request)));
  const said = script(forms.length);
  if (said === "cut") request.socket.destroy();
  if (typeof said === "string") return;
  response.sendDate = false;
  response.writeHead(said.status, said.headers).end(said.body);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  return Buffer.concat(await Array.fromAsync(request)).toString();
}

function identity(fraction: () => number): CredentialsSource {
  const where = {
    sts: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    roleArn: "arn:aws:iam::1:role/postern",
    sessionName: "node",
    readToken: () => token(),
    clock_ms: () => clock_ms,
  };
  // Faster than the wall clock, so that silence is soon over.
  const after = (wait_ms: number, run: () => void) => {
    const timer = setTimeout(run, wait_ms / SPEED);
    return () => clearTimeout(timer);
  };
  return webIdentity(where, { fetch, after, fraction });
}

/** Credentials number n, for an hour by the service's clock. */
function granted(n: number, lasts_ms = HOUR_MS, server_ms = SERVER_MS): Said {
  const expiration = new Date(server_ms + lasts_ms).toISOString().replace(".000", "");
  return {
    status: 200,
    headers: { date: new Date(server_ms).toUTCString() },
    body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleWithWebIdentityResult><Credentials>
        <AccessKeyId>ID-${n}</AccessKeyId><SecretAccessKey>hidden-secret-${n}</SecretAccessKey>
        <SessionToken>hidden-session-${n}</SessionToken><Expiration>${expiration}</Expiration>
      </Credentials></AssumeRoleWithWebIdentityResult>
    </AssumeRoleWithWebIdentityResponse>`,
  };
}

const denied = (code: string, status = 403): Said => ({
  status,
  body: `<ErrorResponse><Error><Code>${code}</Code><Message>${TOKEN}</Message></Error></ErrorResponse>`,
});

async function idOf(credentials: ReturnType<CredentialsSource>): Promise<string> {
  const got = await credentials;
  return "failed" in got ? got.failed : got.accessKeyId;
}

/** Lets a renewal in the background end: it has when the service was asked and the answer is in force. */
async function renewedTo(id: string): Promise<void> {
  while ((await idOf(source())) !== id) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe("credentials", () => {
  test("are what the token was exchanged for, unsigned and in the form that STS takes", async () => {
    const got = (await source()) as S3Credentials;
    expect(got.accessKeyId).toBe("ID-1");
    expect(fromUtf8(got.secretAccessKey.expose())).toBe("hidden-secret-1");
    expect(got.sessionToken && fromUtf8(got.sessionToken.expose())).toBe("hidden-session-1");
    expect(Object.fromEntries(forms[0] ?? [])).toEqual({
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: "arn:aws:iam::1:role/postern",
      RoleSessionName: "node",
      WebIdentityToken: TOKEN,
    });
  });

  test("are asked for once by all who wait, and stay the same object while they are good", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => source()));
    clock_ms = HOUR_MS / 2;
    all.push(await source());
    expect(new Set(all).size).toBe(1);
    expect(forms).toHaveLength(1);
  });

  test("are renewed before they expire, with the token that is there then; the old ones serve meanwhile", async () => {
    expect(await idOf(source())).toBe("ID-1");
    token = async () => "rotated";
    clock_ms = 0.75 * HOUR_MS;
    expect(await idOf(source())).toBe("ID-1");
    await renewedTo("ID-2");
    expect(forms.map((form) => form.get("WebIdentityToken"))).toEqual([TOKEN, "rotated"]);
  });

  test("are renewed by each node at another time, between one half and three quarters", async () => {
    for (const [fraction, early, late] of [
      [0, 0.49, 0.51],
      [0.999, 0.74, 0.76],
    ] as const) {
      clock_ms = 0;
      forms.length = 0;
      source = identity(() => fraction);
      await source();
      clock_ms = early * HOUR_MS;
      await source();
      expect(forms).toHaveLength(1);
      clock_ms = late * HOUR_MS;
      await renewedTo("ID-2");
    }
  });

  test("serve until they expire while the service refuses, which is then told; afterwards all is well again", async () => {
    await source();
    script = () => denied("AccessDenied");
    for (clock_ms = 0.75 * HOUR_MS; clock_ms < HOUR_MS - 2_000; clock_ms += HOUR_MS / 50)
      expect(await idOf(source())).toBe("ID-1");
    clock_ms = HOUR_MS;
    expect(await idOf(source())).toMatch(/^there are no credentials by web identity: .* 403 AccessDenied$/);
    script = (asked) => granted(asked);
    clock_ms += STS_PAUSE_MS;
    expect(await idOf(source())).toMatch(/^ID-/);
  });

  test("are not asked for again at once by who was refused", async () => {
    script = () => denied("AccessDenied");
    for (let i = 0; i < 20; i++) expect(await source()).toHaveProperty("failed");
    expect(forms).toHaveLength(1);
  });

  test.each([-9, 9])(
    "live as long as the service says by its own clock, %i hours from ours",
    async (hours) => {
      script = (asked) => granted(asked, HOUR_MS, SERVER_MS + hours * HOUR_MS);
      await source();
      clock_ms = 0.6 * HOUR_MS;
      expect(await idOf(source())).toBe("ID-1");
      script = () => denied("AccessDenied");
      clock_ms = HOUR_MS;
      expect(await source()).toHaveProperty("failed");
    },
  );

  test("that are said to live for ever are renewed within a day", async () => {
    script = (asked) => granted(asked, 1_000 * HOUR_MS);
    await source();
    clock_ms = STS_LIFETIME_MS_MAX;
    expect(await idOf(source())).toBe("ID-2");
  });

  test("that the bucket calls expired are renewed before their time, but not again at once", async () => {
    const first = (await source()) as S3Credentials;
    clock_ms = STS_PAUSE_MS;
    const second = (await source(first)) as S3Credentials;
    expect([second.accessKeyId, forms.length]).toEqual(["ID-2", 2]);
    expect(await source(first)).toBe(second);
    expect(await source(second)).toBe(second);
    expect(forms).toHaveLength(2);
  });
});

describe("a service that", () => {
  test.each([
    ["answers 500", { status: 500, body: "" }],
    ["is throttling", denied("Throttling", 429)],
    ["does not know the newest keys yet", denied("InvalidIdentityToken", 400)],
    ["cannot reach who signed the token", denied("IDPCommunicationError", 400)],
    ["cuts", "cut"],
  ] as const)("%s is asked again", async (_name, said) => {
    script = (asked) => (asked < S3_READ_ATTEMPTS_MAX ? said : granted(asked));
    expect(await idOf(source())).toBe(`ID-${S3_READ_ATTEMPTS_MAX}`);
  });

  test.each([
    ["hangs", "silence", "did not answer in time"],
    ["refuses", denied("ExpiredTokenException", 400), "400 ExpiredTokenException"],
    ["answers no XML", { status: 200, body: TOKEN }, "cannot be understood"],
    ["answers half", { ...granted(1), body: granted(1).body.slice(0, -9) }, "cannot be understood"],
    ["leaves the date out", { ...granted(1), headers: {} }, "cannot be understood"],
    [
      "leaves the secret out",
      { ...granted(1), body: granted(1).body.replaceAll("SecretAccessKey", "X") },
      "cannot be",
    ],
    [
      "breaks lines in it",
      { ...granted(1), body: granted(1).body.replace("hidden-s", "hidden-\ns") },
      "cannot be",
    ],
    [
      "names no time",
      { ...granted(1), body: granted(1).body.replace("<Expiration>20", "<Expiration>soon") },
      "cannot be understood",
    ],
    ["gives what has expired", granted(1, -1_000), "have expired"],
    ["redirects", { status: 302, body: "", headers: { location: "http://127.0.0.1:2/" } }, "302"],
  ] as const)("%s is told, without a secret", async (_name, said, why) => {
    script = () => said;
    const got = await source();
    expect(got).toEqual({ failed: expect.stringContaining(why) });
    expect(inspect(got, { depth: 9 })).not.toMatch(/hidden|identity-token/);
  });

  const files: readonly (readonly [string, () => Promise<string>, string])[] = [
    ["is not there", () => Promise.reject(Object.assign(new Error(TOKEN), { code: "ENOENT" })), "(ENOENT)"],
    ["is empty", async () => "\n", "holds no token"],
    ["holds something else", async () => "two words", "holds no token"],
    ["is huge", async () => "x".repeat(100_000), "holds no token"],
  ];
  test.each(files)("a token file that %s is told, and nothing is sent", async (_name, read, why) => {
    token = read;
    expect(await source()).toEqual({ failed: expect.stringContaining(why) });
    expect(forms).toEqual([]);
  });
});

describe("a bucket by web identity", () => {
  test("is asked with new credentials where it calls the old ones expired: also a put, which it has not done", async () => {
    const signedBy: string[] = [];
    const bucket = createServer((request, response) => {
      const [, id = ""] = /Credential=([^/]+)/.exec(request.headers.authorization ?? "") ?? [];
      signedBy.push(`${request.method} ${id} ${String(request.headers["x-amz-security-token"])}`);
      request.resume().on("end", () => {
        if (id === "ID-2") response.writeHead(200, { etag: '"v"' }).end();
        else response.writeHead(400).end("<Error><Code>ExpiredToken</Code></Error>");
      });
    });
    bucket.listen(0, "127.0.0.1");
    await once(bucket, "listening");
    const url = `s3://bucket?endpoint=http://127.0.0.1:${(bucket.address() as AddressInfo).port}`;
    const store = s3Store({ ...s3Options(url, {}), credentials: source });
    await source();
    clock_ms = STS_PAUSE_MS;
    expect(await store.put("k", new Uint8Array(1), { ifNoneMatch: "*" })).toEqual({
      outcome: "done",
      etag: "v",
    });
    expect(signedBy).toEqual(["PUT ID-1 hidden-session-1", "PUT ID-2 hidden-session-2"]);
    expect(inspect([store, source, await source()], { depth: 9, showHidden: true })).not.toMatch(/hidden-se/);
    await store.close();
    bucket.close();
  });

  test("says why it cannot be asked, and asks nothing", async () => {
    script = () => denied("AccessDenied");
    const url = "s3://bucket?endpoint=http://127.0.0.1:2";
    const store = s3Store({ ...s3Options(url, {}), credentials: source });
    const why = expect.stringContaining("403 AccessDenied");
    expect(await store.get("k")).toMatchObject({ code: "store_unavailable", detail: why });
    expect(await store.put("k", new Uint8Array(1), { ifNoneMatch: "*" })).toEqual({
      outcome: "unknown",
      reason: why,
    });
    await store.close();
  });
});
