/**
 * The closed registry of caveats.
 *
 * A caveat is text, `name op value`. An entry says how its value is read and what it prohibits; a text that no
 * entry reads is refused (`unknown_caveat`), never skipped (law 1). Each entry only ever prohibits, so adding
 * a caveat can only narrow (law 2); `delegate` alone moves a token to another key, and needs the signature of the one
 * that it was bound to (`holders.ts`).
 */
import { fromHex } from "../bytes.ts";
import { caveatName, type Refusal, type RefusalFacts, refuse } from "../errors.ts";
import { type Address, formatAddress, isWithin, parseRange } from "../ip.ts";
import type { Json } from "../json.ts";
import { CAVEAT_BYTES_MAX } from "../limits.ts";
import { ACTOR_ID, HOLDER, TYPE_NAME } from "../names.ts";
import { readMessages, readProtocol } from "./order.ts";
import { type Count, readRate, readTime, readUses } from "./values.ts";
import { type Condition, type NoCondition, readCondition } from "./when.ts";

/** What a caveat is asked about. */
export interface Access {
  readonly actor: { readonly type: string; readonly id: string };
  /** `undefined` where it is asked what may be sent at all: then no message is prohibited. */
  readonly message: string | undefined;
  /** `undefined` where they are not known yet: what depends on them must be asked again, before the message runs. */
  readonly args: Json | undefined;
  readonly now_ms: number;
  /** The key that signed the request, as a holder caveat names it. */
  readonly signer: string;
  /** The caller's address; `undefined` where nobody trustworthy has told it. */
  readonly address: Address | undefined;
  /** Host and port that the request was addressed to, one of those that the gate answers to. */
  readonly authority: string;
}

export type CaveatName =
  | "actor"
  | "message"
  | "expires"
  | "not_before"
  | "holder"
  | "delegate"
  | "protocol"
  | "when"
  | "client_ip"
  | "uses"
  | "rate"
  | "audience";

export interface Delegation {
  readonly to: string;
  /** 64 bytes, by the holder before. */
  readonly signature: Uint8Array;
}

/** Parts of an access that only the gate knows. */
export type Need = "args" | "address" | "authority";

export interface Caveat {
  readonly name: CaveatName;
  readonly text: string;
  /**
   * Why the access is prohibited, as a clause; `undefined` where it is not. What needs more than the access (where a
   * monitor or a count stands, what other caveats say of the holder) is asked elsewhere and prohibits nothing here.
   */
  prohibits(access: Access): string | undefined;
  /** What `prohibits` looks at, beside actor, message, time and signer. */
  readonly needs?: readonly Need[];
  /** `expires`: the moment from which it prohibits everything, in ms since the epoch. */
  readonly expires_ms?: number;
  /** `protocol`: the expression. Its monitor is asked later, when the actor's state is at hand. */
  readonly protocol?: string;
  /** `protocol`: 8 hex digits, where the caveat has them. It decides nothing by itself: it is part of the text, so
   * of the chain signature, so of the monitor's id, and makes two monitors out of the equal halves of a split. */
  readonly label?: string;
  /** `message`: the messages that stay allowed. */
  readonly messages?: ReadonlySet<string>;
  /** `holder`: the key that must sign. */
  readonly holder?: string;
  readonly delegation?: Delegation;
  /** `uses`, `rate`: asked later, as monitors are. */
  readonly count?: Count;
}

type Facts = Omit<Caveat, "name" | "text">;

interface Entry {
  readonly op: "=" | "in" | "<" | ">=" | "<=";
  /** What the caveat looks like, for messages and help. */
  readonly form: string;
  /** @returns `undefined` where the value has another form, the reason where there is more to say. */
  read(value: string): Facts | NoCondition | undefined;
}

const NOTHING = (): undefined => undefined;

const REGISTRY: Readonly<Record<CaveatName, Entry>> = {
  actor: {
    op: "=",
    form: "actor = type/id or type/*",
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
    form: "message in a,b",
    read(value) {
      const messages = readMessages(value);
      if (messages === undefined) return undefined;
      return {
        messages,
        prohibits: ({ message }) =>
          message === undefined || messages.has(message)
            ? undefined
            : `it allows ${value.replaceAll(",", ", ")}, not ${message}`,
      };
    },
  },
  expires: {
    op: "<",
    form: "expires < RFC 3339 time",
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
    form: "not_before >= RFC 3339 time",
    read(value) {
      const from_ms = readTime(value);
      if (from_ms === undefined) return undefined;
      return { prohibits: ({ now_ms }) => (now_ms >= from_ms ? undefined : `it begins at ${value}`) };
    },
  },
  holder: {
    op: "=",
    form: "holder = 64 hex digits or ed25519:64 hex digits",
    read(value) {
      return HOLDER.test(value) ? { holder: value, prohibits: NOTHING } : undefined;
    },
  },
  delegate: {
    op: "=",
    form: "delegate = holder key, space, signature of 128 hex digits",
    read(value) {
      const [to = "", hex = "", ...rest] = value.split(" ");
      const signature = hex.length === 128 ? fromHex(hex) : undefined;
      if (!HOLDER.test(to) || signature === undefined || rest.length > 0) return undefined;
      return { delegation: { to, signature }, prohibits: NOTHING };
    },
  },
  protocol: {
    op: "=",
    form: "protocol = expression [@ 8 hex digits]",
    read(value) {
      const read = readProtocol(value);
      return read && { ...read, prohibits: NOTHING };
    },
  },
  when: {
    op: "=",
    form: "when = condition in CEL",
    read(value) {
      const condition = readCondition(value);
      return "reason" in condition ? condition : factsOf(condition);
    },
  },
  client_ip: {
    op: "in",
    form: "client_ip in address/bits,…",
    read(value) {
      const ranges = value.split(",").map(parseRange);
      if (!ranges.every((range) => range !== undefined)) return undefined;
      return {
        needs: ["address"],
        prohibits({ address }) {
          if (address === undefined) return "the caller's address is not known";
          return ranges.some((range) => isWithin(address, range))
            ? undefined
            : `it admits ${value}, not ${formatAddress(address)}`;
        },
      };
    },
  },
  uses: {
    op: "<=",
    form: "uses <= number",
    read(value) {
      const count = readUses(value);
      return count && { count, prohibits: NOTHING };
    },
  },
  rate: {
    op: "<=",
    form: "rate <= number/period, as in 10/m or 5/30s",
    read(value) {
      const count = readRate(value);
      if (typeof count === "string") return { reason: count };
      return count && { count, prohibits: NOTHING };
    },
  },
  audience: {
    op: "=",
    form: "audience = origin, as in https://gate.example",
    read(value) {
      const url = URL.parse(value);
      if (url?.origin !== value || !/^https?:$/.test(url.protocol)) return undefined;
      const { host } = url;
      return {
        needs: ["authority"],
        prohibits: ({ authority }) =>
          authority === host ? undefined : `it is meant for ${value}, not for ${authority}`,
      };
    },
  },
};

function factsOf(condition: Condition): Facts {
  const needs: Need[] = [];
  const { variables } = condition;
  if (variables.has("args")) needs.push("args");
  if (variables.has("client")) needs.push("address");
  return {
    needs,
    prohibits({ actor, message, args, now_ms, signer, address }) {
      const unknown =
        (message === undefined && variables.has("message")) || (args === undefined && variables.has("args"));
      if (unknown) return undefined;
      const client = { key: signer, ...(address !== undefined && { ip: formatAddress(address) }) };
      return condition.unmet({ args: args ?? null, actor, message: message ?? "", now_ms, client });
    },
  };
}

const SHAPE = /^([a-z_]+) (=|in|<|>=|<=) (\S(?:.*\S)?)$/;

/** Reads one caveat; the indices of it and of its token say which it is in a refusal. */
export function parseCaveat(text: string, index: number, token = 0): Caveat | Refusal {
  const unknown = (reason: string, facts: RefusalFacts = {}): Refusal =>
    refuse("unknown_caveat", `${caveatName(index, token)} is refused because ${reason}`, {
      token,
      caveat: { index, text },
      ...facts,
    });
  if (text.length > CAVEAT_BYTES_MAX) return unknown(`it is longer than ${CAVEAT_BYTES_MAX} bytes`);
  const [, name = "", op, value = ""] = SHAPE.exec(text) ?? [];
  if (!isCaveatName(name)) return unknown("this gate does not know it");
  const entry = REGISTRY[name];
  const read = entry.op === op ? entry.read(value) : undefined;
  if (read === undefined) return unknown(`it is not of the form \`${entry.form}\``);
  if ("reason" in read) {
    const { reason, column } = read;
    return unknown(reason, column === undefined ? {} : { position: { text: value, column } });
  }
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
