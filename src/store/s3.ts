/**
 * The store in a bucket (`s3://…`): any S3-compatible server with conditional writes.
 *
 * What servers do differently ends here. A put is `done` on a clean 200 with an ETag, `conflict` where the answer is
 * certain, and `unknown` for everything else, as Ceph's 500 to a losing racer. A key is absent only where the server
 * says so by name: a missing bucket must not look like an empty one.
 */
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { S3_LIST_KEYS_MAX, S3_LIST_PAGE_BYTES_MAX, S3_OBJECT_BYTES_MAX } from "../limits.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";
import {
  describe,
  errorCodeOf,
  type S3Answer,
  S3Client,
  type S3Options,
  type S3Result,
} from "./s3-client.ts";
import { readXml } from "./s3-xml.ts";

export type { Fetch, S3Credentials, S3Options } from "./s3-client.ts";

export function s3Store(options: S3Options): Store {
  return new S3Store(new S3Client(options), options.address.prefix);
}

/** An entity tag without its quotes. No `*` and no list: a server would take those for any version. */
const ETAG = /^[\x21\x23-\x29\x2b\x2d-\x7e]{1,256}$/;

/** How If-Match names a version: quoted (RFC 9110; AWS, MinIO), or bare (Ceph RGW, and who builds on it). */
const FORMS = [(etag: string) => `"${etag}"`, (etag: string) => etag] as const;

class S3Store implements Store {
  readonly #client: S3Client;
  readonly #prefix: string;
  /** Known once a put has passed in it. */
  #form: (typeof FORMS)[number] | undefined;

  constructor(client: S3Client, prefix: string) {
    this.#client = client;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    const result = await this.#client.read({ method: "GET", key, bytesMax: S3_OBJECT_BYTES_MAX });
    if ("failed" in result) return unavailable(result);
    const { status, body } = result;
    if (status === 404 && errorCodeOf(result) === "NoSuchKey") return undefined;
    if (status !== 200) return unavailable(result);
    const etag = etagOf(result);
    return etag === undefined ? unavailable({ failed: "it answered without a strong ETag" }) : { body, etag };
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    // What could not be read again must not be written.
    if (body.length > S3_OBJECT_BYTES_MAX)
      return unknown(`the object has more than ${S3_OBJECT_BYTES_MAX} bytes`);
    const bytes = body.slice();
    if (!("ifMatch" in condition)) return this.#put(key, bytes, "if-none-match", "*");
    // It was never given out. Asking would be dangerous: `*` matches every version.
    if (!ETAG.test(condition.ifMatch)) return { outcome: "conflict" };
    let outcome: PutOutcome = { outcome: "conflict" };
    // A 412 may only mean that this server reads the other form. It has written nothing, so asking again is safe.
    for (const form of this.#form === undefined ? FORMS : [this.#form]) {
      outcome = await this.#put(key, bytes, "if-match", form(condition.ifMatch));
      if (outcome.outcome === "done") this.#form = form;
      if (outcome.outcome !== "conflict") return outcome;
    }
    return outcome;
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    const result = await this.#client.write({ method: "DELETE", key });
    if ("failed" in result) return "unknown";
    const absent = result.status === 404 && errorCodeOf(result) === "NoSuchKey";
    return result.status === 204 || result.status === 200 || absent ? "done" : "unknown";
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    const keys: string[] = [];
    const query = { "list-type": "2", "encoding-type": "url", prefix: this.#prefix + prefix };
    let token: string | undefined;
    let pages = 0;
    do {
      const page = await this.#page(token === undefined ? query : { ...query, "continuation-token": token });
      if (isRefusal(page)) return page;
      for (const key of page.keys) {
        if (!key.startsWith(query.prefix)) return unavailable({ failed: "it listed keys not asked for" });
        keys.push(key.slice(this.#prefix.length));
      }
      // A page may be empty and not the last: AWS looks through a thousand deleted versions at a time.
      if (keys.length + ++pages > S3_LIST_KEYS_MAX)
        return unavailable({ failed: `it lists more than ${S3_LIST_KEYS_MAX} keys` });
      if (page.next !== undefined && page.next === token)
        return unavailable({ failed: "it lists the same page again" });
      token = page.next;
    } while (token !== undefined);
    return keys;
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #put(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    header: "if-match" | "if-none-match",
    value: string,
  ): Promise<PutOutcome> {
    const result = await this.#client.write({ method: "PUT", key, body, headers: { [header]: value } });
    if (!("failed" in result)) {
      const etag = result.status === 200 ? etagOf(result) : undefined;
      if (etag !== undefined) return { outcome: "done", etag };
      if (isConflict(result, header)) return { outcome: "conflict" };
    }
    return unknown(describe(result));
  }

  async #page(query: Readonly<Record<string, string>>): Promise<Page | Refusal> {
    const result = await this.#client.read({
      method: "GET",
      key: "",
      query,
      bytesMax: S3_LIST_PAGE_BYTES_MAX,
    });
    if ("failed" in result || result.status !== 200) return unavailable(result);
    return readPage(result) ?? unavailable({ failed: "its list of keys cannot be understood" });
  }
}

/** Whether it is certain that the put was not applied because of its condition. */
function isConflict(answer: S3Answer, header: "if-match" | "if-none-match"): boolean {
  if (answer.status === 412) return true;
  const code = errorCodeOf(answer);
  // AWS, while another write of the key is under way.
  if (answer.status === 409) return code === "ConditionalRequestConflict";
  // AWS, where there is no version to match; Ceph says 412.
  return answer.status === 404 && header === "if-match" && code === "NoSuchKey";
}

function etagOf({ header }: S3Answer): string | undefined {
  const etag = header("etag")?.replace(/^"(.*)"$/, "$1") ?? "";
  return ETAG.test(etag) ? etag : undefined;
}

interface Page {
  readonly keys: readonly string[];
  /** The continuation token, where there are more. */
  readonly next: string | undefined;
}

function readPage({ body }: S3Answer): Page | undefined {
  const leaves = readXml(fromUtf8(body) ?? "");
  const all = (name: string): readonly string[] => leaves?.get(`ListBucketResult/${name}`) ?? [];
  const [truncated] = all("IsTruncated");
  const [next] = all("NextContinuationToken");
  if (truncated === "true" ? next === undefined || next === "" : truncated !== "false") return undefined;
  const raw = all("Contents/Key");
  // Servers that do not know the encoding leave its name out.
  const decoded = all("EncodingType")[0] === "url" ? raw.map(decodeListed) : raw;
  const keys = decoded.filter((key) => key !== undefined);
  if (keys.length < raw.length) return undefined;
  return { keys, next: truncated === "true" ? next : undefined };
}

/** Of a form's encoding: AWS writes a space as `+`, and a plus as `%2B`. */
function decodeListed(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

function unknown(reason: string): PutOutcome {
  return { outcome: "unknown", reason };
}

function unavailable(result: S3Result): Refusal {
  return refuse("store_unavailable", `the bucket cannot be read: ${describe(result)}`);
}
