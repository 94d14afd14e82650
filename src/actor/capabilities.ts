/**
 * The capabilities that an actor holds: its c-list, and what one call may use of it.
 *
 * A turn may use what the actor holds and what came with its call, each by the number that the host gave it; another
 * number is of no use, whoever thought of it. After the call the actor holds exactly what its new state refers to. The
 * tokens are sealed wherever they are kept, and a handler never sees one (laws 4 and 7).
 */
import type { Outcome } from "../dispatch/outcome.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { type CapabilityNote, capOf, handlesIn, readHandle, replaceCaps } from "../handles.ts";
import type { Json } from "../json.ts";
import {
  CAPABILITIES_HANDED_ON_MAX,
  CAPABILITIES_HELD_LENGTH_MAX,
  CAPABILITIES_HELD_MAX,
} from "../limits.ts";

const NAME = '"$cap"';

/** What the host does with an actor's secrets. Owners are `tenant/type/id`. */
export interface Vault {
  /** The actor's public key: what a capability is handed to it with. */
  publicKey(owner: string): string;
  /** @returns text that nobody opens but who has the master key, for this owner and id */
  seal(owner: string, id: number, token: string): string;
  /** Throws where it was not sealed for this owner and id. */
  open(owner: string, id: number, sealed: string): string;
  /**
   * The owner's token, narrowed and bound to another key: the same again for the same arguments.
   * Refusals: `handler_invalid`, where the caveats are none, or the token has no room for more.
   */
  handOn(owner: string, token: string, to: string, caveats: readonly string[]): string | Refusal;
}

/** A capability that came with a call. */
export interface Received {
  /** The token, with its discharges: a secret. */
  readonly token: string;
  readonly note: Omit<CapabilityNote, "id">;
}

export interface HeldCapability {
  readonly note: CapabilityNote;
  readonly sealed: string;
}

/** `[note, sealed]`: what came with a call; not sealed where nothing of the call refers to it. */
export type CapabilityRecord = readonly [note: CapabilityNote, sealed?: string];
/** `[id, sealed]`, kept with what refers to it. */
export type SealedRecord = readonly [id: number, sealed: string];

interface PurseOptions {
  readonly vault: Vault;
  /** `tenant/type/id`. */
  readonly owner: string;
  readonly held: ReadonlyMap<number, HeldCapability>;
  /** The first id that was never given. */
  readonly next: number;
  /** What came with the call; its handles in the arguments are counted from 0. */
  readonly received: readonly Received[];
}

/** What the turns of one call may use. */
export class Purse {
  readonly #options: PurseOptions;
  #handedOn = 0;

  constructor(options: PurseOptions) {
    this.#options = options;
  }

  /** The public key of another actor of the same tenant. @param actor `type/id` */
  keyOf(actor: string): string {
    const { vault, owner } = this.#options;
    return vault.publicKey(`${owner.slice(0, owner.indexOf("/"))}/${actor}`);
  }

  /** As the handler is told, by id. */
  get notes(): readonly CapabilityNote[] {
    return [...[...this.#options.held.values()].map(({ note }) => note), ...this.#receivedNotes()];
  }

  /** The arguments with the ids that this actor knows their capabilities by. */
  numbered(args: Json): Json {
    if (this.#options.received.length === 0) return args;
    const { next } = this.#options;
    const numbered = replaceCaps(args, (object) => capOf(next + (readHandle(object)?.id ?? 0)));
    if (isRefusal(numbered)) throw new Error("numbering refuses nothing");
    return numbered;
  }

  noteOf(id: number): CapabilityNote | undefined {
    const { held, received, next } = this.#options;
    const came = received[id - next];
    return came === undefined ? held.get(id)?.note : { id, ...came.note };
  }

  /** Refuses a turn whose reply or state names what it may not: `handler_invalid`. */
  refuseTurn({ reply, state }: Pick<Outcome, "reply" | "state">): Refusal | undefined {
    const refused = this.refuse("reply", reply, true);
    // JSON.stringify writes the name as it is: without it there is none.
    if (refused !== undefined || state?.includes(NAME) !== true) return refused;
    return this.refuse("state", JSON.parse(state) as Json, false);
  }

  /**
   * Refuses what a turn names and may not: `handler_invalid`.
   * @param what the value is, for the refusal
   * @param mayNarrow whether its handles may have caveats
   */
  refuse(what: string, value: Json, mayNarrow: boolean): Refusal | undefined {
    const checked = replaceCaps(value, (object, at) => {
      const handle = readHandle(object);
      const where = `the handler's ${what}, at ${at || "its top"},`;
      if (handle === undefined || (!mayNarrow && handle.caveats.length > 0))
        return refuse("handler_invalid", `${where} has a $cap that is no handle`);
      if (this.noteOf(handle.id) === undefined)
        return refuse(
          "handler_invalid",
          `${where} names capability ${handle.id}, which the actor does not have`,
        );
      return object;
    });
    return isRefusal(checked) ? checked : undefined;
  }

  /** The value as it goes to another key: each capability is bound to it. Refusal: `handler_invalid`. */
  handOn(value: Json, to: string): Json | Refusal {
    const { held, received } = this.#options;
    // It names none, or it would have been refused.
    if (held.size === 0 && received.length === 0) return value;
    return replaceCaps(value, (object) => {
      if (++this.#handedOn > CAPABILITIES_HANDED_ON_MAX)
        return refuse(
          "handler_invalid",
          `a call hands on at most ${CAPABILITIES_HANDED_ON_MAX} capabilities`,
        );
      return handedOn(this.#options, object, to, (id) => this.#tokenOf(id));
    });
  }

  /**
   * What the call leaves with the actor.
   * @param kept values beside the new state that the actor keeps: the reply, arguments of sends
   * @param state the new one; `undefined` where it is what it was
   */
  leave(kept: readonly Json[], state: string | undefined): Left | Refusal {
    const { vault, owner, held, received, next } = this.#options;
    if (held.size === 0 && received.length === 0) return {};
    const holds = state === undefined ? undefined : idsInState(state);
    const sealed = new Set([
      ...(holds ?? []),
      ...kept.flatMap((value) => handlesIn(value).map(({ id }) => id)),
    ]);
    const caps = received.map(({ token, note }, index): CapabilityRecord => {
      const id = next + index;
      const named = { id, ...note };
      return sealed.has(id) ? [named, vault.seal(owner, id, token)] : [named];
    });
    const changed = holds !== undefined && (holds.length !== held.size || holds.some((id) => !held.has(id)));
    const full = holds && tooMany(heldAfter(held, caps, holds));
    return full ?? { ...(caps.length > 0 && { caps }), ...(changed && { holds }) };
  }

  *#receivedNotes(): Iterable<CapabilityNote> {
    const { received, next } = this.#options;
    for (const [index, { note }] of received.entries()) yield { id: next + index, ...note };
  }

  #tokenOf(id: number): string | undefined {
    const { vault, owner, held, received, next } = this.#options;
    const sealed = held.get(id)?.sealed;
    return sealed === undefined ? received[id - next]?.token : vault.open(owner, id, sealed);
  }
}

export interface Left {
  readonly caps?: readonly CapabilityRecord[];
  /** The ids that the actor holds, where they are others than before. */
  readonly holds?: readonly number[];
}

/** The ids that a state refers to, which was checked before. */
function idsInState(state: string): readonly number[] {
  if (!state.includes(NAME)) return [];
  return [...new Set(handlesIn(JSON.parse(state) as Json).map(({ id }) => id))].toSorted((a, b) => a - b);
}

/** The c-list after a call. */
export function heldAfter(
  held: ReadonlyMap<number, HeldCapability>,
  caps: readonly CapabilityRecord[],
  holds: readonly number[],
): Map<number, HeldCapability> {
  const came = new Map(
    caps.map(([note, sealed]) => [note.id, sealed === undefined ? undefined : { note, sealed }]),
  );
  const after = new Map<number, HeldCapability>();
  for (const id of holds) {
    const capability = came.get(id) ?? held.get(id);
    if (capability !== undefined) after.set(id, capability);
  }
  return after;
}

function tooMany(held: ReadonlyMap<number, HeldCapability>): Refusal | undefined {
  let length = 0;
  for (const { sealed } of held.values()) length += sealed.length;
  if (held.size <= CAPABILITIES_HELD_MAX && length <= CAPABILITIES_HELD_LENGTH_MAX) return undefined;
  const most = `${CAPABILITIES_HELD_MAX} capabilities, of ${CAPABILITIES_HELD_LENGTH_MAX} characters as they are sealed`;
  return refuse("quota_exceeded", `an actor holds at most ${most}`);
}

/** A value that is kept, with the capabilities that it refers to, as it goes to a key. */
export function handOnKept(
  { vault, owner }: Pick<PurseOptions, "vault" | "owner">,
  value: Json,
  sealed: readonly SealedRecord[],
  to: string,
): Json | Refusal {
  const byId = new Map(sealed);
  const open = (id: number): string | undefined => {
    const text = byId.get(id);
    return text === undefined ? undefined : vault.open(owner, id, text);
  };
  return replaceCaps(value, (object) => handedOn({ vault, owner }, object, to, open));
}

function handedOn(
  { vault, owner }: Pick<PurseOptions, "vault" | "owner">,
  object: Parameters<typeof readHandle>[0],
  to: string,
  tokenOf: (id: number) => string | undefined,
): Json | Refusal {
  const handle = readHandle(object);
  const token = handle && tokenOf(handle.id);
  // Checked when the turn named it, and kept with what refers to it.
  if (handle === undefined || token === undefined) throw new Error("a handle without a capability");
  const bound = vault.handOn(owner, token, to, handle.caveats);
  return isRefusal(bound) ? bound : capOf(bound);
}

/** What is kept with a value: each capability that it refers to. */
export function sealedFor(
  value: Json,
  held: ReadonlyMap<number, HeldCapability>,
  caps: readonly CapabilityRecord[],
): readonly SealedRecord[] {
  if (held.size === 0 && caps.length === 0) return [];
  const came = new Map(caps.map(([{ id }, sealed]) => [id, sealed]));
  const ids = new Set(handlesIn(value).map(({ id }) => id));
  return [...ids].flatMap((id): SealedRecord[] => {
    const sealed = came.get(id) ?? held.get(id)?.sealed;
    return sealed === undefined ? [] : [[id, sealed]];
  });
}
