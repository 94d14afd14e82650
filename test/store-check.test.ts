/**
 * A whole store is found whole. Whatever is cut out of it, cut short or changed in it is named, and nothing else is.
 *
 * Every object of a small but complete store is deleted, cut and changed, one at a time.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { decodeObject, decodeSlot, logPrefix, manifestKey, slotOf } from "../src/cluster/format.ts";
import { type Ownership, parseOwnership } from "../src/cluster/ownership.ts";
import { parseManifest } from "../src/cluster/pages.ts";
import { parsePublished } from "../src/publish.ts";
import { Secret } from "../src/secret.ts";
import type { StoreProblem } from "../src/shard-check.ts";
import { checkStore } from "../src/store-check.ts";
import { encodePage, pageKey } from "../src/token/revocation.ts";
import { MASTER, must } from "./support/gate.ts";
import { Seeded } from "./support/seeded.ts";
import { PAGED, SHARDS, storeOf, VOIDED, wholeStore } from "./support/whole-store.ts";

const ignore = (): void => {};

let whole: ReadonlyMap<string, Uint8Array>;

beforeAll(async () => {
  whole = await wholeStore();
});

async function problemsOf(
  objects: ReadonlyMap<string, Uint8Array>,
  master = MASTER,
): Promise<readonly StoreProblem[]> {
  return must(await checkStore(await storeOf(objects), master, ignore)).problems;
}

/** The keys that a check names. */
async function namedBy(objects: ReadonlyMap<string, Uint8Array>): Promise<string[]> {
  return (await problemsOf(objects)).map(({ key }) => key);
}

const keysOf = (kind: string): string[] => [...whole.keys()].filter((key) => key.startsWith(`${kind}/`));
const bodyOf = (key: string): Uint8Array => whole.get(key) ?? utf8("");

function ownershipOf(shard: number): Ownership {
  const ownership = parseOwnership(bodyOf(`own/00${shard}`));
  if (ownership === undefined) throw new Error("no ownership");
  return ownership;
}

/** Slots of a shard, in order. */
const slotsOf = (shard: number): string[] =>
  [...whole.keys()].filter((key) => key.startsWith(logPrefix(shard))).toSorted();

/** Why nobody can tell that this object is missing. */
function dispensable(key: string): string | undefined {
  const [kind = "", name = ""] = key.split("/");
  if (kind === "node") return "its node may have left in this moment";
  if (kind === "probe") return "nobody reads it again";
  if (kind === "changes")
    return "the next change makes it anew, and nodes that do not find it read everything";
  if (key === pageKey("demo", 1)) return "the feed ends where the next page is not there";
  if (kind === "ckpt" && !isNamed(key)) return "no checkpoint names it any more";
  if (kind !== "log") return undefined;
  const shard = Number(name);
  const seq = slotOf(key);
  if (seq <= (ownershipOf(shard).checkpoint?.seq ?? 0))
    return "it is in the checkpoint, or fences whoever was deposed before";
  if (key === slotsOf(shard).at(-1)) return "a log ends where the next slot is free";
  if (isVoid(shard, seq)) return "it is void: its writer was deposed before it was written";
  return undefined;
}

function isNamed(key: string): boolean {
  const { checkpoint } = ownershipOf(PAGED);
  const manifest = manifestKey(PAGED, checkpoint?.id ?? "");
  const decoded = decodeObject(bodyOf(manifest));
  const { pages = [] } = (typeof decoded === "object" && parseManifest(decoded.lines[0])) || {};
  const parts = pages.flatMap((page, number) => (page ? [`${page.id}/${number}/`] : []));
  return [manifest, `${checkpoint?.id}/common/`, ...parts].some((part) => key.includes(part));
}

function isVoid(shard: number, seq: number): boolean {
  return slotsOf(shard).some((key) => {
    const decoded = decodeSlot(bodyOf(key));
    if (typeof decoded === "string" || decoded.header.kind !== "seal") return false;
    return slotOf(key) < seq && seq < decoded.header.resume;
  });
}

describe("the store that is checked here", () => {
  it("has every kind of object, and each in every condition", () => {
    const kinds = new Set([...whole.keys()].map((key) => key.split("/")[0]));
    const all = [
      "changes",
      "ckpt",
      "handler",
      "keys",
      "log",
      "meta",
      "node",
      "own",
      "policy",
      "probe",
      "revoked",
    ];
    expect(kinds).toEqual(new Set(all));
    expect(keysOf("own")).toHaveLength(SHARDS);
    expect([0, 1, PAGED].map((shard) => ownershipOf(shard).checkpoint !== null)).toEqual([
      false,
      false,
      true,
    ]);
    const manifest = decodeObject(bodyOf(manifestKey(PAGED, ownershipOf(PAGED).checkpoint?.id ?? "")));
    const pages = (typeof manifest === "object" && parseManifest(manifest.lines[0])?.pages) || [];
    expect(new Set(pages.map((page) => page?.id)).size).toBeGreaterThan(1);
    const reasons = new Set([...whole.keys()].map(dispensable));
    expect(reasons.size).toBe(9);
    for (let shard = 0; shard < SHARDS; shard++) {
      const headers = slotsOf(shard).map((key) => decodeSlot(bodyOf(key)));
      const seals = headers.filter((slot) => typeof slot === "object" && slot.header.kind === "seal");
      expect(seals).toHaveLength(2);
      expect(headers.length).toBeGreaterThan(seals.length + 1);
    }
  });

  it("is whole, and it is told how far the check has come", async () => {
    const seen: [number, number][] = [];
    const report = await checkStore(await storeOf(whole), MASTER, (done, total) => seen.push([done, total]));
    let bytes = 0;
    for (const body of whole.values()) bytes += body.length;
    expect(report).toEqual({ objects: whole.size, bytes, problems: [] });
    expect(seen.at(-1)).toEqual([whole.size, whole.size]);
    expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
    expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([whole.size]));
  });
});

describe("check", () => {
  it("names every object that is missing, and no other, but for those that nobody can miss", async () => {
    for (const key of whole.keys()) {
      const without = new Map(whole);
      without.delete(key);
      expect(await namedBy(without), `without ${key}`).toEqual(dispensable(key) === undefined ? [key] : []);
    }
  });

  it("names every object of which a byte has changed, and no other", async () => {
    const random = new Seeded(1);
    for (const [key, body] of whole) {
      const last = body.length - 1;
      for (const at of [0, last >> 1, last, random.below(body.length), random.below(body.length)]) {
        const changed = new Uint8Array(body);
        changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
        const expected = key.startsWith("probe/") ? [] : [key];
        expect(await namedBy(new Map(whole).set(key, changed)), `${key}, byte ${at}`).toEqual(expected);
      }
    }
  });

  it("names every object that was cut short, and no other", async () => {
    for (const [key, body] of whole) {
      for (const length of [0, 1, body.length >> 1, body.length - 1]) {
        const expected = key.startsWith("probe/") ? [] : [key];
        const cut = new Map(whole).set(key, body.subarray(0, length));
        expect(await namedBy(cut), `${key}, ${length} bytes`).toEqual(expected);
      }
    }
  });

  it("names an object that stands in the place of another one", async () => {
    const swaps = [
      ["policy/demo", "policy/other"],
      ["keys/demo", "keys/other"],
      [pageKey("demo", 0), pageKey("demo", 1)],
      keysOf("handler").slice(0, 2),
    ];
    for (const [one = "", other = ""] of swaps) {
      const swapped = new Map(whole).set(one, bodyOf(other)).set(other, bodyOf(one));
      expect((await namedBy(swapped)).toSorted(), `${one} and ${other}`).toEqual([one, other].toSorted());
    }
  });

  it("tells a page of revocations that ends too soon, another master key, a foreign object", async () => {
    const short = encodePage({ tenant: "demo", page: 0, entries: [] }, "n");
    expect(await problemsOf(new Map(whole).set(pageKey("demo", 0), short))).toEqual([
      { key: pageKey("demo", 0), detail: "it is not full, but another follows" },
    ]);
    const rings = await problemsOf(whole, new Secret(new Uint8Array(32)));
    expect(rings.map(({ key }) => key)).toEqual(keysOf("keys"));
    expect(await namedBy(new Map(whole).set("notes/readme", utf8("hello")))).toEqual(["notes/readme"]);
  });

  it("names all of several that are missing, or the first of a row of slots", async () => {
    const [first = "", second = "", third = ""] = slotsOf(VOIDED).filter(
      (key) => dispensable(key) === undefined,
    );
    const handlers = keysOf("handler");
    const without = new Map(whole);
    for (const key of [second, third, ...handlers, "meta/cluster"]) without.delete(key);
    const missing = await namedBy(without);
    expect(missing).toContain(second);
    expect(missing).not.toContain(first);
    expect(missing).toEqual(expect.arrayContaining([...handlers, "meta/cluster"]));
    const policies = keysOf("policy").map((key) => parsePublished(bodyOf(key)));
    expect(policies).not.toContain(undefined);
  });
});
