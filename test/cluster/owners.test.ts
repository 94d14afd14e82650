/** Who owns a shard: what leases list, what was told, and when the one is no longer believed for the other. */
import { describe, expect, test } from "vitest";
import type { LeaseRecord } from "../../src/cluster/lease.ts";
import { Owners } from "../../src/cluster/owners.ts";
import { Peers } from "../../src/cluster/peers.ts";

const SHARD = 3;
const ME = "me";

/** Owners, and leases that are seen as a test says: a new version each time. */
class World {
  readonly peers = new Peers({ ttl_ms: 1000, interval_ms: 100, isGone: () => false });
  readonly owners = new Owners(this.peers);
  #versions = 0;

  /** The session's lease changes, and lists the shard under this epoch or not at all. */
  renews(session: string, epoch?: number, state: LeaseRecord["state"] = "serving"): void {
    const record: LeaseRecord = {
      session,
      state,
      url: `http://${session}`,
      authorities: [],
      process: "",
      ttl_ms: 1000,
      renewed_at: "",
      shards: epoch === undefined ? {} : { [SHARD]: [epoch, 0, 0] },
      nonce: "n",
    };
    this.peers.saw(session, record, String(++this.#versions), { asked_ms: 0, answered_ms: 0 });
  }

  tell(session: string | null, epoch: number): void {
    this.owners.tell(SHARD, { session, epoch });
  }

  /** Session and epoch of the owner to whom a call would be passed on. */
  get owner(): readonly [string, number] | undefined {
    const owner = this.owners.of(SHARD);
    return owner && [owner.lease.session, owner.epoch];
  }

  get isMine(): boolean {
    return this.owners.isOf(SHARD, ME);
  }
}

describe("the owner of a shard", () => {
  test("is unknown at first", () => {
    const world = new World();
    world.renews("a");
    expect([world.owner, world.isMine, world.owners.isLed(SHARD)]).toEqual([undefined, false, false]);
  });

  test("is the living node whose lease lists it; of two, the later reign", () => {
    const world = new World();
    world.renews("a", 4);
    expect(world.owner).toEqual(["a", 4]);
    world.renews("b", 6);
    expect(world.owner).toEqual(["b", 6]);
    world.renews("a", 5);
    expect(world.owner).toEqual(["b", 6]);
    world.renews("b", 6, "dead");
    expect(world.owner).toEqual(["a", 5]);
    world.peers.gone("a");
    expect(world.owner).toBeUndefined();
  });

  test("may be told before its lease lists it: until that lease changes without listing it", () => {
    const world = new World();
    world.renews("a");
    world.tell("a", 2);
    expect(world.owner).toEqual(["a", 2]);
    world.renews("a", 2);
    expect(world.owner).toEqual(["a", 2]);
    const failing = new World();
    failing.renews("a");
    failing.tell("a", 2);
    failing.renews("a");
    expect([failing.owner, failing.owners.isLed(SHARD)]).toEqual([undefined, false]);
    // Told again, it may have taken it again.
    failing.tell("a", 3);
    expect(failing.owner).toEqual(["a", 3]);
  });

  test("that is told counts against a lease that is older, and not against one that is newer", () => {
    const world = new World();
    world.renews("a", 4);
    world.renews("b");
    world.tell("b", 5);
    expect(world.owner).toEqual(["b", 5]);
    world.renews("a", 6);
    expect(world.owner).toEqual(["a", 6]);
  });

  test("that is told of an older reign than is known is not believed", () => {
    const world = new World();
    world.renews("a");
    world.renews("b");
    world.tell("a", 5);
    world.tell("b", 4);
    expect(world.owner).toEqual(["a", 5]);
    world.tell("b", 5);
    expect(world.owner).toEqual(["b", 5]);
  });

  test("that another node has told is believed where it is newer, until the store says otherwise", () => {
    const world = new World();
    for (const session of ["a", "b", "c"]) world.renews(session);
    world.tell("a", 5);
    world.owners.hint(SHARD, { session: "b", epoch: 5 });
    expect(world.owner).toEqual(["a", 5]);
    world.owners.hint(SHARD, { session: "b", epoch: 9 });
    expect(world.owner).toEqual(["b", 9]);
    // It was wrong, and so may be the next one.
    world.owners.hint(SHARD, { session: "c", epoch: 6 });
    expect(world.owner).toEqual(["c", 6]);
    world.tell("a", 5);
    expect(world.owner).toEqual(["a", 5]);
  });

  test("is nobody where it was handed over, though the old owner's lease still lists it", () => {
    const world = new World();
    world.renews("a", 4);
    world.tell(null, 4);
    expect([world.owner, world.owners.isLed(SHARD)]).toEqual([undefined, false]);
    world.renews("b", 5);
    expect(world.owner).toEqual(["b", 5]);
  });

  test("is nobody where it is told to be one who is dead, or was never seen", () => {
    const world = new World();
    world.tell("stranger", 1);
    expect(world.owner).toBeUndefined();
    world.renews("a", undefined, "dead");
    world.tell("a", 2);
    expect([world.owner, world.owners.isLed(SHARD)]).toEqual([undefined, false]);
  });

  test("is me where that was the last that was heard, until somebody's lease lists a later reign", () => {
    const world = new World();
    world.tell(ME, 3);
    expect([world.isMine, world.owner]).toEqual([true, undefined]);
    world.renews("a", 3);
    expect(world.isMine).toBe(true);
    world.renews("a", 4);
    expect(world.isMine).toBe(false);
    world.tell(ME, 5);
    expect(world.isMine).toBe(true);
    world.tell(null, 5);
    expect(world.isMine).toBe(false);
  });

  test("whose lease cannot be read leads it as long as it lives, though nobody can be sent there", () => {
    const world = new World();
    const sees = (etag: string): void =>
      world.peers.saw("newer", undefined, etag, { asked_ms: 0, answered_ms: 0 });
    sees("x");
    world.tell("newer", 2);
    expect([world.owner, world.owners.isLed(SHARD)]).toEqual([undefined, true]);
    // It may have given it up: who owns it is asked again.
    sees("y");
    expect(world.owners.isLed(SHARD)).toBe(false);
  });

  test("of one shard says nothing of another", () => {
    const world = new World();
    world.renews("a", 4);
    world.owners.tell(SHARD + 1, { session: "a", epoch: 9 });
    expect(world.owner).toEqual(["a", 4]);
    expect(world.owners.of(SHARD + 2)).toBeUndefined();
  });
});
