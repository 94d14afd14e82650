/**
 * The store in an R2 bucket, by a worker's binding (`r2`). Nodes reach the same bucket by its S3 interface.
 *
 * A put is `done` where the binding answers with the object, `conflict` where it answers that the condition does not
 * hold, and `unknown` where it fails: also where R2 asks for patience, because a key takes about one write a second.
 */
import { type Refusal, refuse } from "../errors.ts";
import { S3_LIST_KEYS_MAX, S3_OBJECT_BYTES_MAX } from "../limits.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";

/** What is needed of the binding. */
export interface R2Binding {
  get(
    key: string,
  ): Promise<(R2Version & { readonly size: number; arrayBuffer(): Promise<ArrayBuffer> }) | null>;
  put(
    key: string,
    body: Uint8Array,
    options: { readonly onlyIf: { readonly etagMatches: string } | { readonly etagDoesNotMatch: "*" } },
  ): Promise<R2Version | null>;
  delete(key: string): Promise<void>;
  list(options: { readonly prefix: string; readonly cursor?: string }): Promise<R2Page>;
}

interface R2Version {
  /** Without quotes. */
  readonly etag: string;
}

interface R2Page {
  readonly objects: readonly { readonly key: string }[];
  readonly truncated: boolean;
  readonly cursor?: string;
}

/** @param prefix before each of our keys: empty, or ends with `/` */
export function r2Store(bucket: R2Binding, prefix = ""): Store {
  return new R2Store(bucket, prefix);
}

/** What R2 gives out. It would take `*` for any version. */
const ETAG = /^[0-9a-f]{32}(?:-\d{1,5})?$/;

class R2Store implements Store {
  readonly #bucket: R2Binding;
  readonly #prefix: string;

  constructor(bucket: R2Binding, prefix: string) {
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    try {
      const found = await this.#bucket.get(this.#prefix + key);
      if (found === null) return undefined;
      if (found.size > S3_OBJECT_BYTES_MAX)
        return unavailable(`an object has more than ${S3_OBJECT_BYTES_MAX} bytes`);
      return { body: new Uint8Array(await found.arrayBuffer()), etag: found.etag };
    } catch {
      return unavailable("it did not answer");
    }
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    // What could not be read again must not be written.
    if (body.length > S3_OBJECT_BYTES_MAX)
      return { outcome: "unknown", reason: `the object has more than ${S3_OBJECT_BYTES_MAX} bytes` };
    if ("ifMatch" in condition && !ETAG.test(condition.ifMatch)) return { outcome: "conflict" };
    const onlyIf =
      "ifMatch" in condition ? { etagMatches: condition.ifMatch } : ({ etagDoesNotMatch: "*" } as const);
    try {
      const written = await this.#bucket.put(this.#prefix + key, new Uint8Array(body), { onlyIf });
      return written === null ? { outcome: "conflict" } : { outcome: "done", etag: written.etag };
    } catch {
      return { outcome: "unknown", reason: "the bucket did not answer" };
    }
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    try {
      await this.#bucket.delete(this.#prefix + key);
      return "done";
    } catch {
      return "unknown";
    }
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    const keys: string[] = [];
    try {
      let page: R2Page | undefined;
      do {
        const { cursor } = page ?? {};
        page = await this.#bucket.list({
          prefix: this.#prefix + prefix,
          ...(cursor !== undefined && { cursor }),
        });
        keys.push(...page.objects.map(({ key }) => key.slice(this.#prefix.length)));
        if (keys.length > S3_LIST_KEYS_MAX) return unavailable(`it lists more than ${S3_LIST_KEYS_MAX} keys`);
      } while (page.truncated);
      return keys;
    } catch {
      return unavailable("it did not answer");
    }
  }

  async close(): Promise<void> {}
}

function unavailable(why: string): Refusal {
  return refuse("store_unavailable", `the bucket cannot be read: ${why}`);
}
