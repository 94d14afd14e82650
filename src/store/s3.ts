/**
 * The store in a bucket (`s3://…`): any S3-compatible server with conditional writes.
 *
 * What servers do differently ends here. A put is `done` on a clean 200 with an ETag, `conflict` where the answer is
 * certain, and `unknown` for everything else, as Ceph's 500 to a losing racer. A key is absent only where the server
 * says so by name: a missing bucket must not look like an empty one.
 */
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  S3_LIST_KEYS_MAX,
  S3_LIST_PAGE_BYTES_MAX,
  S3_OBJECT_BYTES_MAX,
  S3_SETTLE_ATTEMPTS_MAX,
  S3_SETTLE_MS,
  S3_SETTLE_PAUSE_MS_MAX,
  S3_UPLOAD_BYTES_PER_MS_MIN,
} from "../limits.ts";
import type { PutCondition, PutOutcome, Settled, Store, StoredObject } from "./contract.ts";
import { type Answer, describe, errorCodeOf, isPassing, type Result } from "./exchange.ts";
import { S3Client, type S3Options } from "./s3-client.ts";
import { readXml } from "./s3-xml.ts";
import { settle } from "./settle.ts";

export type { Fetch } from "./exchange.ts";
export type { CredentialsSource, S3Credentials, S3Options } from "./s3-client.ts";

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

  get(key: string): Promise<StoredObject | undefined | Refusal> {
    return this.#client.within((over) => this.#get(key, over));
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    const bytes = new Uint8Array(body);
    return this.#client.within(async (over) => (await this.#put(key, bytes, condition, over)).told);
  }

  /** Rides out a store that is away for seconds, and ends in time for a lease: whoever waited longer has lost it. */
  settledPut(key: string, body: Uint8Array, condition: PutCondition): Promise<Settled> {
    const bytes = new Uint8Array(body);
    const transfer_ms = bytes.length / S3_UPLOAD_BYTES_PER_MS_MIN;
    const work = (over: AbortSignal): Promise<Settled> => {
      let again = true;
      const put = async (): Promise<PutOutcome> => {
        const sent = await this.#put(key, bytes, condition, over);
        again = sent.again;
        return sent.told;
      };
      const patience = async (attempt: number): Promise<boolean> => {
        if (again) await this.#client.backOff(attempt, S3_SETTLE_PAUSE_MS_MAX, over);
        return again && !over.aborted && attempt < S3_SETTLE_ATTEMPTS_MAX;
      };
      return settle({ get: () => this.#get(key, over), put }, { key, body: bytes, condition }, patience);
    };
    return this.#client.within(work, S3_SETTLE_MS + 2 * transfer_ms);
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    const result = await this.#client.within((over) => this.#client.write({ method: "DELETE", key }, over));
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

  async #get(key: string, over: AbortSignal): Promise<StoredObject | undefined | Refusal> {
    const result = await this.#client.read({ method: "GET", key, bytesMax: S3_OBJECT_BYTES_MAX }, over);
    if ("failed" in result) return unavailable(result);
    const { status, body } = result;
    if (status === 404 && errorCodeOf(result) === "NoSuchKey") return undefined;
    if (status !== 200) return unavailable(result);
    const etag = etagOf(result);
    return etag === undefined ? unavailable({ failed: "it answered without a strong ETag" }) : { body, etag };
  }

  async #put(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    condition: PutCondition,
    over: AbortSignal,
  ): Promise<Sent> {
    // What could not be read again must not be written.
    if (body.length > S3_OBJECT_BYTES_MAX)
      return { told: unknown(`the object has more than ${S3_OBJECT_BYTES_MAX} bytes`), again: false };
    if (!("ifMatch" in condition)) return this.#send(key, body, ["if-none-match", "*"], over);
    let sent: Sent = { told: { outcome: "conflict" }, again: false };
    // It was never given out. Asking would be dangerous: `*` matches every version.
    if (!ETAG.test(condition.ifMatch)) return sent;
    // A 412 may only mean that this server reads the other form. It has written nothing, so asking again is safe.
    for (const form of this.#form === undefined ? FORMS : [this.#form]) {
      sent = await this.#send(key, body, ["if-match", form(condition.ifMatch)], over);
      if (sent.told.outcome === "done") this.#form = form;
      if (sent.told.outcome !== "conflict") break;
    }
    return sent;
  }

  async #send(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    [header, value]: readonly ["if-match" | "if-none-match", string],
    over: AbortSignal,
  ): Promise<Sent> {
    const request = { method: "PUT", key, body, headers: { [header]: value } } as const;
    const result = await this.#client.write(request, over);
    if (!("failed" in result)) {
      const etag = result.status === 200 ? etagOf(result) : undefined;
      if (etag !== undefined) return { told: { outcome: "done", etag }, again: false };
      if (isConflict(result, header)) return { told: { outcome: "conflict" }, again: true };
    }
    return { told: unknown(describe(result)), again: !isFinal(result) };
  }

  async #page(query: Readonly<Record<string, string>>): Promise<Page | Refusal> {
    const request = { method: "GET", key: "", query, bytesMax: S3_LIST_PAGE_BYTES_MAX } as const;
    const result = await this.#client.within((over) => this.#client.read(request, over));
    if ("failed" in result || result.status !== 200) return unavailable(result);
    return readPage(result) ?? unavailable({ failed: "its list of keys cannot be understood" });
  }
}

/** What a put is told, and whether it may do better when sent again. */
interface Sent {
  readonly told: PutOutcome;
  readonly again: boolean;
}

/** What stays as it is, however long one waits: no permission, no such bucket, a redirect. */
function isFinal(result: Result): boolean {
  if ("failed" in result || isPassing(result)) return false;
  return result.status >= 300 && result.status !== 409;
}

/** Whether it is certain that the put was not applied because of its condition. */
function isConflict(answer: Answer, header: "if-match" | "if-none-match"): boolean {
  if (answer.status === 412) return true;
  const code = errorCodeOf(answer);
  // AWS, while another write of the key is under way.
  if (answer.status === 409) return code === "ConditionalRequestConflict";
  // AWS, where there is no version to match; Ceph says 412.
  return answer.status === 404 && header === "if-match" && code === "NoSuchKey";
}

function etagOf({ header }: Answer): string | undefined {
  const etag = header("etag")?.replace(/^"(.*)"$/, "$1") ?? "";
  return ETAG.test(etag) ? etag : undefined;
}

interface Page {
  readonly keys: readonly string[];
  /** The continuation token, where there are more. */
  readonly next: string | undefined;
}

function readPage({ body }: Answer): Page | undefined {
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

function unavailable(result: Result): Refusal {
  return refuse("store_unavailable", `the bucket cannot be read: ${describe(result)}`);
}
