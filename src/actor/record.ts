/**
 * An actor as lines of a checkpoint: the actor first, then the replies that it keeps.
 *
 *     {"v":2,"actor":"t/account/1","behaviour":["open ; …",1],"monitors":[["<id>",2,<until>]],"state":…}
 *     {"replies":[["<key>","<digest>",<until>,<reply>],…]}
 *
 * What has expired is not written; an actor of which nothing is left has no lines. Read back, an actor is what it was
 * in all that a call can see.
 */
import type { Json } from "../json.ts";
import { CHECKPOINT_PART_BYTES } from "../limits.ts";
import { type Actor, blank, isOver, take } from "./actor.ts";
import type { CountRecord } from "./counts.ts";
import { decodeEntry, type MonitorRecord, type ReplyRecord, stateAfter } from "./entry.ts";
import { Replies } from "./replies.ts";

type KeptRecord = readonly [...ReplyRecord, reply: Json];

interface ActorLine {
  readonly v: 2;
  readonly actor: string;
  readonly behaviour?: readonly [expression: string, state: number];
  readonly monitors: readonly MonitorRecord[];
  readonly counts?: readonly CountRecord[];
  readonly state?: Json;
}

interface RepliesLine {
  readonly replies: readonly KeptRecord[];
}

/** @param now_ms what has expired by then is left out */
export function writeRecord(address: string, actor: Actor, now_ms: number): readonly string[] {
  const monitors = [...actor.monitors]
    .filter(([, { until_ms }]) => !isOver(until_ms, now_ms))
    .map(([id, { state, until_ms }]): MonitorRecord => [id, state, until_ms]);
  const counts = [...actor.counts]
    .filter(([, { until_ms }]) => !isOver(until_ms, now_ms))
    .map(([id, { state, until_ms }]): CountRecord => [id, state, until_ms]);
  const replies = [...arrays(keptRecords(actor, now_ms))].map((array) => `{"replies":${array}}`);
  const begun = actor.behaviour !== undefined;
  if (!begun && monitors.length + counts.length + replies.length === 0) return [];
  const { behaviour, state } = actor;
  const counted = counts.length > 0 && { counts };
  const line = JSON.stringify({ v: 2, actor: address, behaviour, monitors, ...counted });
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
  if (line.v !== 2 || line.actor !== address)
    throw new Error(`the record of ${address} is of ${line.actor}, version ${String(line.v)}`);
  const replies = new Replies();
  for (const text of rest) {
    for (const [key, digest, until_ms, reply] of (JSON.parse(text) as RepliesLine).replies)
      replies.set(key, { digest, until_ms, reply });
  }
  return {
    state: line.state === undefined ? undefined : JSON.stringify(line.state),
    behaviour: line.behaviour,
    monitors: new Map(line.monitors.map(([id, state, until_ms]) => [id, { state, until_ms }])),
    counts: new Map(line.counts?.map(([id, state, until_ms]) => [id, { state, until_ms }])),
    replies,
  };
}

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
