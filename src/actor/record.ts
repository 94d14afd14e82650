/**
 * An actor as lines of a checkpoint: the actor first, then the replies that it keeps, its outbox, and whose sends it took.
 *
 *     {"v":3,"actor":"t/account/1","behaviour":{"expression":"open ; …","state":1,"by":"<by>"},
 *      "monitors":[["<root>",[["<id>",2,<until>,"<by>"],…]],…],"counts":[["<root>",[["<id>",[3],<until>],…]],…],
 *      "caps":[[{"id":4,"actor":"account/2"},"<sealed>"],…],"next":[5,1],"state":…}
 *     {"replies":[["<key>","<digest>",<until>,<reply>,[[4,"<sealed>"]]],…]}
 *     {"sends":[[[0,4,"account/2","deposit",<args>],[[4,"<sealed>"]],<at>],…]}
 *     {"senders":[["<key>",7,<until>],…]}
 *
 * What has expired is not written; an actor of which nothing is left has no lines. Read back, an actor is what it was
 * in all that a call can see.
 */
import type { Json } from "../json.ts";
import { CHECKPOINT_PART_BYTES } from "../limits.ts";
import { type Actor, type Behaviour, blank, take } from "./actor.ts";
import type { CapabilityRecord, SealedRecord } from "./capabilities.ts";
import type { CountRecord } from "./counts.ts";
import {
  decodeLine,
  isDelivery,
  type MonitorRecord,
  type ReplyRecord,
  type SenderRecord,
  stateAfter,
} from "./entry.ts";
import type { SendRecord } from "./outbox.ts";
import type { PerRoot } from "./per-root.ts";

type OfRoot<R> = readonly [root: string, records: readonly R[]];
/** `by`: digest of the token that moved it last. */
type MovedRecord = readonly [...MonitorRecord, by: string];
type KeptRecord = readonly [...ReplyRecord, reply: Json, caps?: readonly SealedRecord[]];
type OutboxRecord = readonly [record: SendRecord, caps: readonly SealedRecord[], at_ms: number];

interface ActorLine {
  readonly v: 3;
  readonly actor: string;
  readonly behaviour?: Behaviour;
  readonly monitors: readonly OfRoot<MovedRecord>[];
  readonly counts?: readonly OfRoot<CountRecord>[];
  readonly caps?: readonly CapabilityRecord[];
  /** Numbers that were never used: of a capability, of a send. */
  readonly next?: readonly [capability: number, send: number];
  readonly state?: Json;
}

/** One of the lines after the first. */
interface FurtherLine {
  readonly replies?: readonly KeptRecord[];
  readonly sends?: readonly OutboxRecord[];
  readonly senders?: readonly SenderRecord[];
}

/** @param now_ms what has expired by then is left out */
export function writeRecord(address: string, actor: Actor, now_ms: number): readonly string[] {
  const monitors = [...actor.monitors.records(now_ms, movedRecord)];
  const counts = [...actor.counts.records(now_ms, countRecord)];
  const further = [
    ...linesOf("replies", keptRecords(actor, now_ms)),
    ...linesOf("sends", outboxRecords(actor)),
    ...linesOf("senders", senderRecords(actor, now_ms)),
  ];
  const { behaviour, capabilities, next, state } = actor;
  // A number that was used once is never used again, so an actor that has used one is never forgotten.
  const used = (next.capability > 0 || next.send > 0) && { next: [next.capability, next.send] };
  const kept = monitors.length + counts.length + further.length;
  if (behaviour === undefined && kept === 0 && used === false) return [];
  const counted = counts.length > 0 && { counts };
  const caps = [...capabilities.values()].map(({ note, sealed }): CapabilityRecord => [note, sealed]);
  const held = caps.length > 0 && { caps };
  const line = JSON.stringify({ v: 3, actor: address, behaviour, monitors, ...counted, ...held, ...used });
  return [state === undefined ? line : `${line.slice(0, -1)},"state":${state}}`, ...further];
}

function linesOf(name: keyof FurtherLine, records: Iterable<unknown>): readonly string[] {
  return [...arrays(records)].map((array) => `{"${name}":${array}}`);
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
    const entry = decodeLine(text);
    take(actor, entry, isDelivery(entry) ? undefined : stateAfter(entry, actor.state));
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
  actor.capabilities = new Map(
    (line.caps ?? []).map(([note, sealed = ""]) => [note.id, { note, sealed }] as const),
  );
  [actor.next.capability, actor.next.send] = line.next ?? [0, 0];
  for (const text of rest) readFurther(actor, JSON.parse(text) as FurtherLine);
  return actor;
}

function readFurther(actor: Actor, { replies = [], sends = [], senders = [] }: FurtherLine): void {
  for (const [key, digest, until_ms, reply, caps = []] of replies)
    actor.replies.set(key, { digest, until_ms, reply, caps });
  for (const [record, caps, at_ms] of sends) actor.outbox.add({ record, caps, at_ms });
  for (const sender of senders) actor.senders.set(sender);
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
  for (const [key, { digest, until_ms, reply, caps }] of replies) {
    if (until_ms < now_ms) continue;
    yield caps.length > 0 ? [key, digest, until_ms, reply, caps] : [key, digest, until_ms, reply];
  }
}

function* outboxRecords({ outbox }: Actor): Iterable<OutboxRecord> {
  for (const { record, caps, at_ms } of outbox) yield [record, caps, at_ms];
}

function* senderRecords({ senders }: Actor, now_ms: number): Iterable<SenderRecord> {
  for (const sender of senders) if (sender[2] >= now_ms) yield sender;
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
