/** Who lives: a node is dead only after a TTL in which this one was looking and saw nothing change. */
import { describe, expect, test } from "vitest";
import type { LeaseRecord } from "../../src/cluster/lease.ts";
import { Peers } from "../../src/cluster/peers.ts";
import { LEASE_TTL_MS_MAX } from "../../src/limits.ts";

const TTL_MS = 1000;
const INTERVAL_MS = 100;

function lease(session = "peer", more: Partial<LeaseRecord> = {}): LeaseRecord {
  return {
    session,
    state: "serving",
    url: `http://${session}`,
    authorities: [],
    process: "elsewhere",
    ttl_ms: TTL_MS,
    renewed_at: "2026-01-01T00:00:00Z",
    shards: {},
    nonce: "n",
    ...more,
  };
}

/** Peers, and looks at one lease by a clock of this test's. */
class Watcher {
  now_ms = 5000;
  readonly gone = new Set<string>();
  readonly peers = new Peers({
    ttl_ms: TTL_MS,
    interval_ms: INTERVAL_MS,
    isGone: (process) => this.gone.has(process),
  });

  /** A look that takes so long, so long after the last one. */
  look(after_ms: number, etag: string, more: Partial<LeaseRecord> = {}, takes_ms = 0): void {
    const asked_ms = this.now_ms + after_ms;
    this.now_ms = asked_ms + takes_ms;
    this.peers.saw("peer", lease("peer", more), etag, { asked_ms, answered_ms: this.now_ms });
  }

  /** Looks at an unchanged lease at the usual times, for so long. */
  watch(for_ms: number, etag: string): void {
    for (let past_ms = 0; past_ms < for_ms; past_ms += INTERVAL_MS) this.look(INTERVAL_MS, etag);
  }

  get lives(): boolean {
    return this.peers.alive("peer") !== undefined;
  }
}

describe("a peer", () => {
  test("whose lease stays the same lives for a TTL, and not longer", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    watcher.watch(TTL_MS - INTERVAL_MS, "1");
    expect(watcher.lives).toBe(true);
    watcher.look(INTERVAL_MS - 1, "1");
    expect(watcher.lives).toBe(true);
    watcher.look(1, "1");
    expect(watcher.lives).toBe(false);
    expect(watcher.peers.living).toEqual([]);
    expect(watcher.peers.dead).toEqual([{ session: "peer", etag: "1", isDeclared: false }]);
  });

  test("that renews its lease lives on, however long before it did not", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    for (let i = 2; i < 20; i++) {
      watcher.watch(TTL_MS - INTERVAL_MS, String(i - 1));
      watcher.look(INTERVAL_MS - 1, String(i));
      expect(watcher.lives).toBe(true);
    }
    watcher.watch(TTL_MS, "19");
    expect(watcher.lives).toBe(false);
    // It was slow, and has renewed in the moment before it was buried.
    watcher.look(INTERVAL_MS, "20");
    expect(watcher.lives).toBe(true);
  });

  test("does not die of a pause of this process: time not looked counts for nobody's death", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    for (let pause = 0; pause < 4; pause++) {
      watcher.look(100 * TTL_MS, "1");
      expect(watcher.lives).toBe(true);
    }
    // Each pause counted as two intervals at most: 800 ms.
    watcher.watch(TTL_MS - 4 * 2 * INTERVAL_MS - INTERVAL_MS, "1");
    expect(watcher.lives).toBe(true);
  });

  test("does not die of looks that take long: that nothing changed is as old as the question", () => {
    const watcher = new Watcher();
    watcher.look(0, "1", {}, 3 * TTL_MS);
    expect(watcher.lives).toBe(true);
    // The answer may be as young as it arrived: nothing counts from before it.
    watcher.look(0, "1", {}, 3 * TTL_MS);
    expect(watcher.lives).toBe(true);
    watcher.look(0, "1");
    expect(watcher.lives).toBe(true);
  });

  test("is given the longer of both TTLs", () => {
    const watcher = new Watcher();
    watcher.look(0, "1", { ttl_ms: 3 * TTL_MS });
    for (let past_ms = 0; past_ms < 3 * TTL_MS - INTERVAL_MS; past_ms += INTERVAL_MS)
      watcher.look(INTERVAL_MS, "1", { ttl_ms: 3 * TTL_MS });
    expect(watcher.lives).toBe(true);
    watcher.look(INTERVAL_MS, "1", { ttl_ms: 3 * TTL_MS });
    expect(watcher.lives).toBe(false);
    const impatient = new Watcher();
    impatient.look(0, "1", { ttl_ms: 1 });
    impatient.look(INTERVAL_MS, "1", { ttl_ms: 1 });
    expect(impatient.lives).toBe(true);
  });

  test("whose process is known to have ended is dead at once, seen before or not", () => {
    const watcher = new Watcher();
    watcher.look(0, "1", { process: "here" });
    expect(watcher.lives).toBe(true);
    watcher.gone.add("here");
    watcher.look(1, "1", { process: "here" });
    expect(watcher.lives).toBe(false);
    const another = new Watcher();
    another.gone.add("here");
    another.look(0, "1", { process: "here" });
    expect(another.lives).toBe(false);
    expect(another.peers.dead).toHaveLength(1);
  });

  test("that somebody has declared dead is dead, and stays on the list until its lease is gone", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    watcher.look(INTERVAL_MS, "2", { state: "dead" });
    expect(watcher.lives).toBe(false);
    expect(watcher.peers.dead).toEqual([{ session: "peer", etag: "2", isDeclared: true }]);
    watcher.peers.gone("peer");
    expect(watcher.peers.dead).toEqual([]);
    expect(watcher.peers.sessions).toEqual([]);
  });

  test("that removes its lease is gone at once", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    watcher.peers.gone("peer");
    expect(watcher.lives).toBe(false);
    expect(watcher.peers.living).toEqual([]);
  });

  test("is confirmed only when its lease has changed under our eyes: a first look may find a dead one's", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    watcher.look(INTERVAL_MS, "1");
    expect(watcher.peers.isConfirmed("peer")).toBe(false);
    watcher.look(INTERVAL_MS, "2");
    expect(watcher.peers.isConfirmed("peer")).toBe(true);
    expect(watcher.peers.isConfirmed("stranger")).toBe(false);
  });

  test("with a lease that cannot be read lives as long as it changes, but is nobody to pass a call on to", () => {
    const watcher = new Watcher();
    const look = (etag: string): void =>
      watcher.peers.saw("peer", undefined, etag, { asked_ms: watcher.now_ms, answered_ms: watcher.now_ms });
    // The longest TTL that any version has: what it says is not known.
    for (let i = 0; i <= 2 * LEASE_TTL_MS_MAX; i += INTERVAL_MS) {
      look(String(Math.floor(i / (LEASE_TTL_MS_MAX - INTERVAL_MS))));
      expect(watcher.peers.lives("peer")).toBe(true);
      watcher.now_ms += INTERVAL_MS;
    }
    expect([watcher.peers.alive("peer"), watcher.peers.living]).toEqual([undefined, []]);
    for (let i = 0; i <= LEASE_TTL_MS_MAX; i += INTERVAL_MS) {
      look("last");
      watcher.now_ms += INTERVAL_MS;
    }
    expect(watcher.peers.lives("peer")).toBe(false);
    expect(watcher.peers.dead).toEqual([{ session: "peer", etag: "last", isDeclared: false }]);
  });

  test("lives one life, that ends when it is dead or gone, and begins anew where it was not dead after all", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    const life = watcher.peers.lifeOf("peer");
    watcher.watch(TTL_MS / 2, "2");
    expect(watcher.peers.lifeOf("peer")).toBe(life);
    expect(life?.aborted).toBe(false);
    watcher.watch(2 * TTL_MS, "2");
    expect(life?.aborted).toBe(true);
    watcher.look(0, "3");
    const second = watcher.peers.lifeOf("peer");
    expect(second?.aborted).toBe(false);
    watcher.peers.gone("peer");
    expect(second?.aborted).toBe(true);
    expect(watcher.peers.lifeOf("peer")).toBeUndefined();
  });

  test("is what the latest look has found, also where an older one is answered after it", () => {
    const watcher = new Watcher();
    watcher.look(0, "1");
    const asked_ms = watcher.now_ms;
    watcher.look(INTERVAL_MS, "2", { url: "http://moved" });
    watcher.peers.saw("peer", lease(), "1", { asked_ms, answered_ms: watcher.now_ms });
    expect(watcher.peers.alive("peer")?.url).toBe("http://moved");
    expect(watcher.peers.version("peer")).toBe("2");
  });

  test("looked at twice at the same time is looked at for no longer than one look lasted", () => {
    const watcher = new Watcher();
    const look = (asked_ms: number, answered_ms: number): void =>
      watcher.peers.saw("peer", lease(), "1", { asked_ms, answered_ms });
    look(0, 150);
    // Each pair began before the first answer of all, and a late question must not count the time twice.
    for (let i = 0; i < 20; i++) {
      look(120, 150);
      look(20, 150);
    }
    expect(watcher.lives).toBe(true);
  });

  test("that drains lives", () => {
    const watcher = new Watcher();
    watcher.look(0, "1", { state: "draining" });
    expect(watcher.peers.living).toMatchObject([{ session: "peer", state: "draining" }]);
  });
});

test("peers live and die each by itself", () => {
  const watcher = new Watcher();
  const look = (session: string, etag: string): void =>
    watcher.peers.saw(session, lease(session), etag, {
      asked_ms: watcher.now_ms,
      answered_ms: watcher.now_ms,
    });
  for (let i = 0; i <= 2 * TTL_MS; i += INTERVAL_MS) {
    look("silent", "1");
    look("lively", String(i));
    watcher.now_ms += INTERVAL_MS;
  }
  expect(watcher.peers.living.map(({ session }) => session)).toEqual(["lively"]);
  expect(watcher.peers.dead.map(({ session }) => session)).toEqual(["silent"]);
});
