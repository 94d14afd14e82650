/** The S3 driver against a scripted server on a real socket: every dialect, every way of not answering, no secret told. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import {
  S3_ANSWER_BYTES_MAX,
  S3_LIST_PAGE_BYTES_MAX,
  S3_OBJECT_BYTES_MAX,
  S3_READ_ATTEMPTS_MAX,
  S3_RETRIES_MAX,
  S3_SLOW_READ_MS,
  S3_TIMEOUT_MS,
} from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import type { PutCondition, Store } from "../../src/store/contract.ts";
import { type S3Options, s3Store } from "../../src/store/s3.ts";
import { settledPut } from "../../src/store/settle.ts";
import { s3Options } from "../support/s3-options.ts";

interface Said {
  readonly status: number;
  readonly body?: string | Buffer;
  readonly headers?: Record<string, string>;
}
type Script = (request: IncomingMessage, seen: readonly Seen[]) => Said | "silence" | "cut";
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

const SPEED = 8;
const SECRETS = ["very-secret-key", "very-secret-session", "ACCESS-ID"];
const ABSENT = { ifNoneMatch: "*" } as const satisfies PutCondition;
const VERSION = { ifMatch: "v1" } as const satisfies PutCondition;
const error = (code: string): string =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m ${SECRETS.join(" ")}</Message></Error>`;
const ok: Said = { status: 200, headers: { etag: '"v2"' }, body: "hello" };

let server: Server;
let script: Script;
let seen: Seen[];
let options: S3Options;
let store: Store;

beforeEach(async () => {
  seen = [];
  server = createServer((request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const env = { AWS_ENDPOINT_URL_S3: endpoint, AWS_ACCESS_KEY_ID: "ACCESS-ID", AWS_REGION: "here" };
  options = {
    ...s3Options("s3://bucket/pre/fix", { ...env, AWS_SECRET_ACCESS_KEY: "very-secret-key" }),
    // Faster than the wall clock, so that silence is soon over; but this machine may be slow, and is no slow server.
    after: (wait_ms, run) => {
      const timer = setTimeout(run, wait_ms / (wait_ms === S3_SLOW_READ_MS ? 1 : SPEED));
      return () => clearTimeout(timer);
    },
  };
  const credentials = {
    accessKeyId: "ACCESS-ID",
    secretAccessKey: new Secret(utf8("very-secret-key")),
    sessionToken: new Secret(utf8("very-secret-session")),
  };
  options = { ...options, credentials: async () => credentials };
  store = s3Store(options);
});
afterEach(async () => {
  await store.close();
  server.closeAllConnections();
  server.close();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = Buffer.concat(await Array.fromAsync(request)).toString();
  const { method = "", url = "", headers } = request;
  seen.push({ method, url, headers, body });
  const said = script(request, seen);
  if (said === "cut") request.socket.destroy();
  if (typeof said !== "string") response.writeHead(said.status, said.headers).end(said.body);
}

const put = (condition: PutCondition) => store.put("k", utf8("body"), condition);

describe("a put", () => {
  const CONFLICT = { outcome: "conflict" };
  const UNKNOWN = { outcome: "unknown" };
  test.each([
    ["200 with an ETag", ABSENT, ok, { outcome: "done", etag: "v2" }],
    [
      "200 with a bare ETag",
      ABSENT,
      { status: 200, headers: { etag: "v2" } },
      { outcome: "done", etag: "v2" },
    ],
    ["200 without an ETag", ABSENT, { status: 200 }, UNKNOWN],
    ["200 with a weak ETag", ABSENT, { status: 200, headers: { etag: 'W/"v2"' } }, UNKNOWN],
    ["204", ABSENT, { status: 204, headers: { etag: '"v2"' } }, UNKNOWN],
    ["412 on creation", ABSENT, { status: 412, body: error("PreconditionFailed") }, CONFLICT],
    ["412 on update", VERSION, { status: 412 }, CONFLICT],
    [
      "409 ConditionalRequestConflict",
      ABSENT,
      { status: 409, body: error("ConditionalRequestConflict") },
      CONFLICT,
    ],
    [
      "409 ConditionalRequestConflict",
      VERSION,
      { status: 409, body: error("ConditionalRequestConflict") },
      CONFLICT,
    ],
    ["409 of another kind", ABSENT, { status: 409, body: error("OperationAborted") }, UNKNOWN],
    ["404 NoSuchKey on update", VERSION, { status: 404, body: error("NoSuchKey") }, CONFLICT],
    ["404 NoSuchKey on creation", ABSENT, { status: 404, body: error("NoSuchKey") }, UNKNOWN],
    ["404 NoSuchBucket on update", VERSION, { status: 404, body: error("NoSuchBucket") }, UNKNOWN],
    ["404 without a code", VERSION, { status: 404 }, UNKNOWN],
    ["500, as Ceph tells a losing racer", VERSION, { status: 500, body: error("UnknownError") }, UNKNOWN],
    ["503 SlowDown", ABSENT, { status: 503, body: error("SlowDown") }, UNKNOWN],
    ["403", ABSENT, { status: 403, body: error("SignatureDoesNotMatch") }, UNKNOWN],
    ["301", ABSENT, { status: 301, headers: { location: "http://127.0.0.1:9/" } }, UNKNOWN],
    ["a cut connection", ABSENT, "cut", UNKNOWN],
    ["silence", ABSENT, "silence", UNKNOWN],
  ] as const)("answered with %s", async (_name, condition, said, expected) => {
    script = () => said;
    expect(await put(condition)).toMatchObject(expected);
  });

  test.each([{ status: 500 }, { status: 503 }, "cut", "silence"] as const)(
    "that ends in %j is sent once: only reading back can tell",
    async (said) => {
      script = () => said;
      await put(ABSENT);
      expect(seen).toHaveLength(1);
    },
  );

  test("that is settled sends the same bytes again, and asks in between", async () => {
    script = ({ method }) => (method === "PUT" ? { status: 500 } : { status: 404, body: error("NoSuchKey") });
    expect(await settledPut(store, "k", utf8("body"), ABSENT)).toEqual({
      outcome: "unknown",
      // The last one may be cut by the end of the patience.
      reason: expect.stringMatching(/it answered 500|it did not answer in time/),
    });
    const methods = seen.map(({ method }) => method);
    expect(methods.length).toBeGreaterThan(4);
    expect(methods).toEqual(methods.map((_, i) => (i % 2 === 0 ? "PUT" : "GET")));
    expect(new Set(seen.filter(({ method }) => method === "PUT").map(({ body }) => body))).toEqual(
      new Set(["body"]),
    );
  });

  test("names a version in the form that the server reads, and remembers it", async () => {
    for (const form of ['"v1"', "v1"]) {
      store = s3Store(options);
      script = ({ headers }) => (headers["if-match"] === form ? ok : { status: 412 });
      expect(await put(VERSION)).toEqual({ outcome: "done", etag: "v2" });
      seen.length = 0;
      expect(await put({ ifMatch: "stale" })).toEqual({ outcome: "conflict" });
      expect(seen.map(({ headers }) => headers["if-match"])).toEqual([form.replace("v1", "stale")]);
    }
  });

  test.each(["", "*", '"', "a,b", "*, v1", "a b", "ä"])("never asks for the version %j", async (etag) => {
    script = () => ok;
    expect(await put({ ifMatch: etag })).toEqual({ outcome: "conflict" });
    expect(seen).toEqual([]);
  });

  test("of more than can be read again is not sent", async () => {
    const outcome = await store.put("k", new Uint8Array(S3_OBJECT_BYTES_MAX + 1), ABSENT);
    expect(outcome.outcome).toBe("unknown");
    expect(seen).toEqual([]);
  });
});

describe("a get", () => {
  const refused = (detail: string) => ({
    code: "store_unavailable",
    detail: expect.stringContaining(detail),
  });
  test.each([
    ["200", ok, { body: utf8("hello"), etag: "v2" }],
    ["404 NoSuchKey", { status: 404, body: error("NoSuchKey") }, undefined],
    ["404 NoSuchBucket", { status: 404, body: error("NoSuchBucket") }, refused("404 NoSuchBucket")],
    ["404 of something that is no S3", { status: 404, body: "<html>nothing here" }, refused("404")],
    ["403", { status: 403, body: error("InvalidAccessKeyId") }, refused("403 InvalidAccessKeyId")],
    ["200 without an ETag", { status: 200, body: "x" }, refused("ETag")],
    ["200 with a weak ETag", { status: 200, headers: { etag: 'W/"v"' } }, refused("ETag")],
    ["206", { status: 206, headers: { etag: '"v"' } }, refused("206")],
    [
      "a redirect",
      { status: 301, headers: { location: "http://127.0.0.1:9/", "x-amz-bucket-region": "eu-west-9" } },
      refused("the bucket is elsewhere, in eu-west-9"),
    ],
  ] as const)("answered with %s", async (_name, said, expected) => {
    script = () => said;
    const found = await store.get("k");
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject(expected);
    expect(seen).toHaveLength(1);
  });

  test.each([{ status: 500 }, { status: 503 }, { status: 429 }, "cut", "silence"] as const)(
    "is sent again after %j",
    async (said) => {
      script = (_request, so) => (so.length < S3_READ_ATTEMPTS_MAX ? said : ok);
      expect(await store.get("k")).toMatchObject({ etag: "v2" });
    },
  );

  test("is given up after some attempts; when all fail, soon at once", async () => {
    script = () => ({ status: 500 });
    const reads = 40;
    for (let i = 0; i < reads; i++) expect(await store.get("k")).toMatchObject({ code: "store_unavailable" });
    expect(seen).toHaveLength(reads + S3_RETRIES_MAX);
  });

  test("takes as long as bytes keep coming, and no longer", async () => {
    const body = Buffer.alloc(8, "x");
    server.removeAllListeners("request");
    server.on("request", (_request, response: ServerResponse) => {
      response.writeHead(200, { etag: '"v"', "content-length": body.length });
      let sent = 0;
      const pace = setInterval(
        () => {
          response.write(body.subarray(sent, ++sent));
          if (sent === body.length) clearInterval(pace);
        },
        S3_TIMEOUT_MS / SPEED / 4,
      );
    });
    expect(await store.get("k")).toMatchObject({ body: new Uint8Array(body) });
  });

  test("stops reading past its bound, however much comes", async () => {
    const chunk = Buffer.alloc(1024 * 1024);
    let sent = 0;
    server.removeAllListeners("request");
    server.on("request", (_request, response: ServerResponse) => {
      const more = (): void => {
        do sent += chunk.length;
        while (response.write(chunk));
      };
      response.writeHead(404).on("drain", more);
      more();
    });
    expect(await store.get("k")).toMatchObject({
      detail: expect.stringContaining(String(S3_ANSWER_BYTES_MAX)),
    });
    expect(sent).toBeLessThan(S3_READ_ATTEMPTS_MAX * 32 * chunk.length);
  });
});

describe("a list", () => {
  const page = (keys: readonly string[], rest: string): Said => ({
    status: 200,
    body: `<ListBucketResult xmlns="x">${keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("")}${rest}</ListBucketResult>`,
  });
  const last = "<IsTruncated>false</IsTruncated>";
  const more = (token: string): string =>
    `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;

  test("follows continuation tokens, over empty pages, and encodes them", async () => {
    const pages = [page(["pre/fix/a"], more("x+/=&amp;1")), page([], more("2")), page(["pre/fix/b"], last)];
    script = (_request, so) => pages[so.length - 1] as Said;
    expect(await store.list("")).toEqual(["a", "b"]);
    const tokens = seen.map(({ url }) => new URL(url, "http://h").searchParams.get("continuation-token"));
    expect(tokens).toEqual([null, "x+/=&1", "2"]);
    expect(seen[1]?.url).toMatch(/&continuation-token=x%2B%2F%3D%261$/);
  });

  test("reads keys encoded or not, as the server says", async () => {
    script = () => page(["pre/fix/a+b%2Bc%20d"], `<EncodingType>url</EncodingType>${last}`);
    expect(await store.list("")).toEqual(["a b+c d"]);
    script = () => page(["pre/fix/a+b%2Bc &lt;&#228;&#xE4;"], last);
    expect(await store.list("")).toEqual(["a+b%2Bc <ää"]);
  });

  test.each([
    ["no XML", { status: 200, body: "hello" }],
    ["nothing", { status: 200 }],
    ["half of it", { status: 200, body: page(["pre/fix/a"], last).body?.slice(0, -20) ?? "" }],
    ["without saying whether it is all", page(["pre/fix/a"], "")],
    ["more to come, and no token", page(["pre/fix/a"], "<IsTruncated>true</IsTruncated>")],
    ["the same page for ever", page(["pre/fix/a"], more("same"))],
    ["keys of others", page(["pre/fixed"], last)],
    ["keys that cannot be decoded", page(["pre/fix/%ff"], `<EncodingType>url</EncodingType>${last}`)],
    ["a document type", { status: 200, body: `<!DOCTYPE x>${String(page([], last).body)}` }],
    ["404 NoSuchBucket", { status: 404, body: error("NoSuchBucket") }],
    ["too much", { status: 200, body: Buffer.alloc(S3_LIST_PAGE_BYTES_MAX + 1, " ") }],
  ] as const)("that is %s is refused, never taken for an empty one", async (_name, said) => {
    script = () => said;
    expect(await store.list("")).toMatchObject({ code: "store_unavailable" });
  });
});

describe("a delete", () => {
  test.each([
    [{ status: 204 }, "done"],
    [{ status: 200 }, "done"],
    [{ status: 404, body: error("NoSuchKey") }, "done"],
    [{ status: 404, body: error("NoSuchBucket") }, "unknown"],
    [{ status: 403 }, "unknown"],
    ["cut", "unknown"],
  ] as const)("answered with %j is %s", async (said, expected) => {
    script = () => said;
    expect(await store.delete("k")).toBe(expected);
  });
});

describe("what is sent", () => {
  test("is signed for the time given, with the body's digest and the session's token", async () => {
    script = () => ok;
    store = s3Store({ ...options, now_ms: () => Date.UTC(2030, 0, 2, 3, 4, 5, 678) });
    await put(ABSENT);
    const { headers, url } = seen[0] as Seen;
    expect(url).toBe("/bucket/pre/fix/k");
    expect(headers).toMatchObject({
      "x-amz-date": "20300102T030405Z",
      "x-amz-security-token": "very-secret-session",
      "x-amz-content-sha256": "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5",
      "if-none-match": "*",
      "accept-encoding": "identity",
    });
    expect(headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=ACCESS-ID\/20300102\/here\/s3\/aws4_request, SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
    );
  });

  test("names keys with everything encoded that is not unreserved", async () => {
    script = () => ok;
    await store.get("a b+c/%2F?#!'()*~/ä");
    expect(seen[0]?.url).toBe("/bucket/pre/fix/a%20b%2Bc/%252F%3F%23%21%27%28%29%2A~/%C3%A4");
  });

  test.each(["..", "../k", "a/./b", "a/.."])(
    "never the key %j, which would be another one on its way",
    async (key) => {
      script = () => ok;
      const dots = expect.stringContaining("dots");
      expect(await store.get(key)).toMatchObject({ code: "store_unavailable", detail: dots });
      expect(await store.put(key, utf8("x"), ABSENT)).toMatchObject({ outcome: "unknown" });
      expect(seen).toEqual([]);
    },
  );
});

test("closed, it lets go of what is under way", async () => {
  script = () => "silence";
  const [get, unclear] = [store.get("k"), put(ABSENT)];
  while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  await store.close();
  expect(await get).toMatchObject({ detail: expect.stringContaining("closed") });
  expect(await unclear).toMatchObject({ outcome: "unknown" });
});

test("no answer, error or print of the store holds a credential", async () => {
  const told: unknown[] = [store, options];
  const answers: readonly (Said | "cut" | "silence")[] = [
    { status: 403, body: error("SignatureDoesNotMatch") },
    { status: 500, body: SECRETS.join(" ") },
    { status: 400, body: error(SECRETS[0] ?? "") },
    { status: 301, headers: { location: "/very-secret-key", "x-amz-bucket-region": "very-secret-key!" } },
    "cut",
    "silence",
  ];
  for (const said of answers) {
    script = () => said;
    told.push(await store.get("k"), await put(ABSENT), await put(VERSION), await store.list(""));
  }
  const broken = s3Store({
    ...options,
    fetch: () => Promise.reject(new Error(`bad header: ${SECRETS.join(" ")}`)),
  });
  told.push(await broken.get("k"), await broken.put("k", utf8("x"), ABSENT));
  const printed = `${told.map((value) => inspect(value, { depth: 9, showHidden: true })).join("\n")}${JSON.stringify(told)}`;
  // The key's id is no secret; it is in what the test itself printed.
  for (const secret of SECRETS.slice(0, 2)) expect(printed).not.toContain(secret);
});
