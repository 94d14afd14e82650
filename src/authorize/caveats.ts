/**
 * The closed registry of caveats.
 *
 * A caveat is text, `name op value`. An entry says how its value is read and what it prohibits; a text that no
 * entry reads is refused (`unknown_caveat`), never skipped (law 1). Each entry only ever prohibits, so adding
 * a caveat can only narrow (law 2).
 */
import type { Refusal } from "../errors.ts";
import { refuse } from "../errors.ts";
import { CAVEAT_BYTES_MAX } from "../limits.ts";
import { ACTOR_ID, MESSAGE_NAME, PUBLIC_KEY, TYPE_NAME } from "../names.ts";

/** What a caveat is asked about. */
export interface Access {
  readonly actor: { readonly type: string; readonly id: string };
  /** `undefined` where it is asked what may be sent at all: then no message is prohibited. */
  readonly message: string | undefined;
  readonly now_ms: number;
  /** The key that signed the request: 64 hex digits, x-only. */
  readonly signer: string;
}

export type CaveatName = "actor" | "message" | "expires" | "not_before" | "holder" | "protocol";

export interface Caveat {
  readonly name: CaveatName;
  readonly text: string;
  /** Why the access is prohibited, as a clause; `undefined` where it is not. */
  prohibits(access: Access): string | undefined;
  /** `expires`: the moment from which it prohibits everything, in ms since the epoch. */
  readonly expires_ms?: number;
  /** `protocol`: the expression. Its monitor is asked later, when the actor's state is at hand. */
  readonly protocol?: string;
  /** `protocol`: 8 hex digits, where the caveat has them. It decides nothing by itself: it is part of the text, so
   * of the chain signature, so of the monitor's id, and makes two monitors out of the equal halves of a split. */
  readonly label?: string;
  /** `message`: the messages that stay allowed. */
  readonly messages?: ReadonlySet<string>;
}

interface Entry {
  readonly op: "=" | "in" | "<" | ">=" | "<=";
  /** @returns `undefined` where the value cannot be read. */
  read(value: string): Omit<Caveat, "name" | "text"> | undefined;
}

/** RFC 3339 with the offset Z or ±hh:mm, seconds required. Hour 24 is ISO 8601's, not RFC 3339's. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T(?!24)\d{2}:\d{2}:\d{2}(\.\d{1,3})?(Z|[+-]\d{2}:\d{2})$/;

/** `<expression> [@ <label>]`. No expression holds an `@`; what it does hold is for the compiler to say. */
const LABELLED = /^([^@]*[^@\s])(?:\s*@\s*([0-9a-f]{8}))?$/;

const REGISTRY: Readonly<Record<CaveatName, Entry>> = {
  actor: {
    op: "=",
    read(value) {
      const [type = "", id = "", ...rest] = value.split("/");
      if (!TYPE_NAME.test(type) || rest.length > 0 || !(id === "*" || ACTOR_ID.test(id))) return undefined;
      return {
        prohibits: ({ actor }) =>
          actor.type === type && (id === "*" || actor.id === id)
            ? undefined
            : `it reaches ${value}, not ${actor.type}/${actor.id}`,
      };
    },
  },
  message: {
    op: "in",
    read(value) {
      const names = value.split(",");
      if (!names.every((name) => MESSAGE_NAME.test(name))) return undefined;
      const messages = new Set(names);
      return {
        messages,
        prohibits: ({ message }) =>
          message === undefined || messages.has(message)
            ? undefined
            : `it allows ${names.join(", ")}, not ${message}`,
      };
    },
  },
  expires: {
    op: "<",
    read(value) {
      const expires_ms = readTime(value);
      if (expires_ms === undefined) return undefined;
      return {
        expires_ms,
        prohibits: ({ now_ms }) => (now_ms < expires_ms ? undefined : `it expired at ${value}`),
      };
    },
  },
  not_before: {
    op: ">=",
    read(value) {
      const from_ms = readTime(value);
      if (from_ms === undefined) return undefined;
      return { prohibits: ({ now_ms }) => (now_ms >= from_ms ? undefined : `it begins at ${value}`) };
    },
  },
  holder: {
    op: "=",
    read(value) {
      if (!PUBLIC_KEY.test(value)) return undefined;
      return {
        prohibits: ({ signer }) =>
          signer === value ? undefined : "the request is signed by another key than the holder's",
      };
    },
  },
  protocol: {
    op: "=",
    read(value) {
      const [, protocol, label] = LABELLED.exec(value) ?? [];
      if (protocol === undefined) return undefined;
      return { protocol, ...(label !== undefined && { label }), prohibits: () => undefined };
    },
  },
};

const SHAPE = /^([a-z_]+) (=|in|<|>=|<=) (\S(?:.*\S)?)$/;

/** Reads one caveat; the index says which it is in a refusal. */
export function parseCaveat(text: string, index: number): Caveat | Refusal {
  const unknown = (reason: string): Refusal =>
    refuse("unknown_caveat", `caveat ${index} is refused because ${reason}`, {
      token: 0,
      caveat: { index, text },
    });
  if (text.length > CAVEAT_BYTES_MAX) return unknown(`it is longer than ${CAVEAT_BYTES_MAX} bytes`);
  const [, name = "", op, value = ""] = SHAPE.exec(text) ?? [];
  if (!isCaveatName(name)) return unknown("this gate does not know it");
  const entry = REGISTRY[name];
  const read = entry.op === op ? entry.read(value) : undefined;
  if (read === undefined) return unknown(`it is not of the form \`${FORMS[name]}\``);
  return { name, text, ...read };
}

/** @param label the number that tells this monitor from those of equal caveats: below 2^32 */
export function formatLabelledProtocol(expression: string, label: number): string {
  return formatCaveat("protocol", `${expression} @ ${label.toString(16).padStart(8, "0")}`);
}

export function formatCaveat(name: CaveatName, value: string): string {
  return `${name} ${REGISTRY[name].op} ${value}`;
}

function isCaveatName(name: string): name is CaveatName {
  return Object.hasOwn(REGISTRY, name);
}

/** What each caveat looks like, for messages and help. */
export const FORMS: Readonly<Record<CaveatName, string>> = {
  actor: "actor = type/id or type/*",
  message: "message in a,b",
  expires: "expires < RFC 3339 time",
  not_before: "not_before >= RFC 3339 time",
  holder: "holder = 64 hex digits",
  protocol: "protocol = expression [@ 8 hex digits]",
};

/** ms since the epoch. A date that does not exist (February 30) is not read. */
function readTime(value: string): number | undefined {
  if (!RFC3339.test(value)) return undefined;
  const ms = Date.parse(value);
  if (Number.isNaN(ms)) return undefined;
  const day = Date.parse(`${value.slice(0, 10)}T00:00:00Z`);
  return new Date(day).toISOString().startsWith(value.slice(0, 10)) ? ms : undefined;
}
