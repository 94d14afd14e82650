/**
 * An actor as lines of a checkpoint: the actor first, then the replies that it keeps.
 *
 *     {"v":3,"actor":"t/account/1","behaviour":{"expression":"open ; …","state":1,"by":"<by>"},
 *      "monitors":[["<root>",[["<id>",2,<until>,"<by>"],…]],…],"counts":[["<root>",[["<id>",[3],<until>],…]],…],
 *      "state":…}
 *     {"replies":[["<key>","<digest>",<until>,<reply>],…]}
 *
 * What has expired is not written; an actor of which nothing is left has no lines. Read back, an actor is what it was
 * in all that a call can see.
 */
import type { Json } from "../json.ts";
import { CHECKPOINT_PART_BYTES } from "../limits.ts";
import { type Actor, type Behaviour, blank, take } from "./actor.ts";
import type { CountRecord } from "./counts.ts";
import { decodeEntry, type MonitorRecord, type ReplyRecord, stateAfter } from "./entry.ts";
import type { PerRoot } from "./per-root.ts";

type OfRoot<R> = readonly [root: string, records: readonly R[]];
/** `by`: digest of the token that moved it last. */
type MovedRecord = readonly [...MonitorRecord, by: string];
type KeptRecord = readonly [...ReplyRecord, reply: Json];

interface ActorLine {
  readonly v: 3;
  readonly actor: string;
  readonly behaviour?: Behaviour;
  readonly monitors: readonly OfRoot<MovedRecord>[];
  readonly counts?: readonly OfRoot<CountRecord>[];
  readonly state?: Json;
}

interface RepliesLine {
  readonly replies: readonly KeptRecord[];
}

/** @param now_ms what has expired by then is left out */
export function writeRecord(address: string, actor: Actor, now_ms: number): readonly string[] {
  const monitors = [...actor.monitors.records(now_ms, movedRecord)];
  const counts = [...actor.counts.records(now_ms, countRecord)];
  const replies = [...arrays(keptRecords(actor, now_ms))].map((array) => `{"replies":${array}}`);
  const { behaviour, state } = actor;
  const kept = monitors.length + counts.length + replies.length;
  if (behaviour === undefined && kept === 0) return [];
  const counted = counts.length > 0 && { counts };
  const line = JSON.stringify({ v: 3, actor: address, behaviour, monitors, ...counted });
  return [state === undefined ? line : `${line.slice(0, -1)},"state":${state}}`, ...replies];
}

/**
 * The actor that a record and the entries after it amount to. Throws where they do not belong together: each passed
 * its checksum, so that is a bug.
 *
 * @param lines none where the checkpoint has no such record
 */
export function readRecord(
  address: string,
  lines: readonly string[],
  entries: readonly string[] = [],
): Actor {
  const actor = recorded(address, lines);
  for (const text of entries) {
    const entry = decodeEntry(text);
    take(actor, entry, stateAfter(entry, actor.state));
  }
  return actor;
}

function recorded(address: string, [first, ...rest]: readonly string[]): Actor {
  if (first === undefined) return blank();
  const line = JSON.parse(first) as ActorLine;
  if (line.v !== 3 || line.actor !== address)
    throw new Error(`the record of ${address} is of ${line.actor}, version ${String(line.v)}`);
  const actor = blank();
  if (line.state !== undefined) actor.state = JSON.stringify(line.state);
  actor.behaviour = line.behaviour;
  for (const [root, own] of line.monitors)
    for (const [id, state, until_ms, by] of own) actor.monitors.set(root, id, { state, until_ms, by });
  for (const [root, own] of line.counts ?? [])
    for (const [id, state, until_ms] of own) actor.counts.set(root, id, { state, until_ms });
  for (const text of rest) {
    for (const [key, digest, until_ms, reply] of (JSON.parse(text) as RepliesLine).replies)
      actor.replies.set(key, { digest, until_ms, reply });
  }
  return actor;
}

type StateIn<P> = P extends PerRoot<infer S> ? S : never;

const movedRecord = (id: string, { state, until_ms, by }: StateIn<Actor["monitors"]>): MovedRecord => [
  id,
  state,
  until_ms,
  by,
];
const countRecord = (id: string, { state, until_ms }: StateIn<Actor["counts"]>): CountRecord => [
  id,
  state,
  until_ms,
];

function* keptRecords({ replies }: Actor, now_ms: number): Iterable<KeptRecord> {
  for (const [key, { digest, until_ms, reply }] of replies) {
    if (until_ms >= now_ms) yield [key, digest, until_ms, reply];
  }
}

/** The records as JSON arrays, several where one would outgrow a part of a checkpoint. */
export function* arrays<T>(records: Iterable<T>): Iterable<string> {
  let texts: string[] = [];
  let length = 0;
  for (const record of records) {
    const text = JSON.stringify(record);
    if (length > 0 && length + text.length > CHECKPOINT_PART_BYTES) {
      yield `[${texts.join(",")}]`;
      texts = [];
      length = 0;
    }
    texts.push(text);
    length += text.length;
  }
  if (length > 0) yield `[${texts.join(",")}]`;
}
