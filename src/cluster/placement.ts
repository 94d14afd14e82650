/**
 * Which node should own which shard: rendezvous hashing with bounded loads.
 *
 * Every node computes the same answer from the same live sessions, without asking anybody. A session that comes or goes
 * moves about its own share and little else; none gets more than its share and a quarter. (Thaler and Ravishankar
 * 1998; Mirrokni, Thorup and Zadimoghaddam 2018.) Who disagrees because he sees other sessions costs a move, never
 * safety: the log's fence decides.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../bytes.ts";
import { ASSIGNMENTS_KEPT, PLACEMENT_SLACK } from "../limits.ts";

/** The session for each shard; `undefined` where there are no sessions. */
export type Assignment = readonly (string | undefined)[];

export class Placement {
  readonly #shards: number;
  /** The last answers: the same few sessions are asked for all the time. */
  readonly #known = new Map<string, Assignment>();

  constructor(shards: number) {
    this.#shards = shards;
  }

  assign(sessions: readonly string[]): Assignment {
    const sorted = sessions.toSorted();
    const name = sorted.join(" ");
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const assignment = assign(this.#shards, sorted);
    if (this.#known.size >= ASSIGNMENTS_KEPT) this.#known.clear();
    this.#known.set(name, assignment);
    return assignment;
  }
}

export function assign(shards: number, sessions: readonly string[]): Assignment {
  const room = Math.ceil((shards * PLACEMENT_SLACK) / Math.max(1, sessions.length));
  const loads = new Map<string, number>();
  return Array.from({ length: shards }, (_, shard) => {
    const chosen = ranked(shard, sessions).find((session) => (loads.get(session) ?? 0) < room);
    if (chosen !== undefined) loads.set(chosen, (loads.get(chosen) ?? 0) + 1);
    return chosen;
  });
}

/** The sessions in the order in which they would take this shard. */
function ranked(shard: number, sessions: readonly string[]): readonly string[] {
  return sessions
    .map((session) => ({ session, weight: weightOf(shard, session) }))
    .toSorted((a, b) => b.weight - a.weight || (a.session < b.session ? -1 : 1))
    .map(({ session }) => session);
}

function weightOf(shard: number, session: string): number {
  const { buffer } = sha256(utf8(`${shard} ${session}`));
  return new DataView(buffer).getUint32(0);
}
