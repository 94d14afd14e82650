/**
 * From what a known caller asks to what a shard does: messages of the right type, with the token's monitors.
 *
 * A single call is a word of one message; a batch is a word of several, and a refusal says which of them is meant.
 */
import type { Call } from "./actor/shard.ts";
import type { Message, TurnResult, Word } from "./actor/word.ts";
import type { Grant } from "./authorize/authorize.ts";
import { toHex } from "./bytes.ts";
import { claimsOf } from "./claims.ts";
import type { Turn } from "./dispatch/sandbox.ts";
import type { Allowance } from "./dispatch/turns.ts";
import { type Envelope, nonceKey } from "./envelope.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { type Json, parseJson } from "./json.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import type { Violation } from "./protocol/schema.ts";
import { type Requested, readBatch } from "./request/batch.ts";
import type { Target } from "./request/target.ts";
import { rememberUntil } from "./signature/freshness.ts";
import type { ActorType, MessageType } from "./tenants.ts";

export interface ComposeOptions {
  readonly protocols: ProtocolCache;
  readonly random: (length: number) => Uint8Array;
}

/** What is asked for: the message that the path names, or the batch of the body. Arguments are not checked yet. */
export function readWord({ message }: Target, body: Uint8Array): Word<Requested> | Refusal {
  if (message === undefined) return readBatch(body);
  const parsed = parseJson(body);
  return isRefusal(parsed) ? parsed : [{ message, args: parsed.value, references: new Map() }];
}

/** The same for each message of a word. The first refusal ends it, and says which call of a batch it is about. */
export function eachCall<A, B>(
  { message }: Target,
  [first, ...rest]: Word<A>,
  work: (item: A) => B | Refusal,
): Word<B> | Refusal {
  const refused = (refusal: Refusal, call: number): Refusal =>
    message === undefined ? refusal.with({ call }) : refusal;
  const head = work(first);
  if (isRefusal(head)) return refused(head, 0);
  const done: [B, ...B[]] = [head];
  for (const item of rest) {
    const next = work(item);
    if (isRefusal(next)) return refused(next, done.length);
    done.push(next);
  }
  return done;
}

export function actorType({ target, tenant }: Envelope): ActorType | Refusal {
  const actor = tenant.actors.get(target.type);
  return actor ?? refuse("no_such_actor_type", `there is no actor type ${target.type}`);
}

/** What a token says of a message whose arguments are known. */
export type Ask = (message: string, args: Json) => Refusal | undefined;

/**
 * The messages exist, and their arguments are of their types, as far as they hold no references; where they do, the
 * token and the type are asked when their replies are there.
 */
export function typedWord(
  { random }: ComposeOptions,
  target: Target,
  actor: ActorType,
  word: Word<Requested>,
  ask: Ask,
): Word<Message> | Refusal {
  return eachCall(target, word, (requested) => typedMessage(random, target.type, actor, requested, ask));
}

function typedMessage(
  random: ComposeOptions["random"],
  typeName: string,
  actor: ActorType,
  { message: name, args, references }: Requested,
  ask: Ask,
): Message | Refusal {
  const type = actor.messages.get(name);
  if (type === undefined)
    return refuse("no_such_message", `${typeName} has no message ${name}`, {
      enabled: [...actor.messages.keys()].toSorted(),
    });
  const refers = references.size > 0;
  const wrong = refers ? undefined : refuseArguments(type, args);
  return (
    wrong ?? {
      name,
      args,
      references,
      seed: toHex(random(16)),
      reads: type.reads,
      run: async (turn, allowance) => {
        const broken = refers ? (ask(name, turn.args) ?? refuseArguments(type, turn.args)) : undefined;
        return broken ?? typedTurn(actor, type, turn, allowance);
      },
    }
  );
}

async function typedTurn(
  actor: ActorType,
  type: MessageType,
  turn: Turn,
  allowance: Allowance,
): Promise<TurnResult | Refusal> {
  if (actor.run === undefined) throw new Error("a turn of a handler that cannot be run here");
  const result = await actor.run(turn, allowance);
  if (isRefusal(result)) return result;
  const broken = type.checkResult(result.reply);
  return broken === undefined ? result : refuse("handler_invalid", `the handler's reply ${at(broken)}`);
}

function refuseArguments({ checkArgs }: MessageType, args: Message["args"]): Refusal | undefined {
  const found = checkArgs(args);
  if (found === undefined) return undefined;
  return refuse("schema_violation", `the arguments ${at(found)}`, { path: found.path });
}

const at = ({ path, reason }: Violation): string => `${path === "" ? "" : `at ${path} `}${reason}`;

export function composeCall(
  { protocols }: ComposeOptions,
  { target, signature, lifetime, idempotencyKey }: Envelope,
  grant: Grant,
  actor: ActorType,
  word: Word<Message>,
  digest: Uint8Array,
  known: Pick<Call, "now_ms" | "deadline_ms" | "revoked" | "received" | "sender">,
): Call | Refusal {
  const claims = claimsOf(grant, protocols);
  if (isRefusal(claims)) return claims;
  return {
    tenant: target.tenant,
    actor: `${target.type}/${target.id}`,
    word,
    handler: actor.handler,
    batch: target.message === undefined,
    signer: signature.keyid,
    behaviour: actor.behaviour,
    become: actor.become,
    now_ms: known.now_ms,
    deadline_ms: known.deadline_ms,
    revoked: known.revoked,
    received: known.received,
    sender: known.sender,
    ...claims,
    idempotency:
      idempotencyKey === undefined || known.sender !== undefined
        ? undefined
        : {
            // Callers cannot meet each other's keys, and a key means one path with one body.
            key: `${signature.keyid}:${idempotencyKey}`,
            digest: `${target.message ?? ""}:${toHex(digest)}`,
          },
    nonce: { key: nonceKey(signature), until_s: rememberUntil(lifetime) },
  };
}
