/**
 * The two caveats that say which messages may be sent when: `message` and `protocol`. They stand apart so that a client
 * which asks only about the order carries no reader of all the others with it.
 */
import { MESSAGE_NAME } from "../names.ts";

/** What such a caveat says; a text that is neither, or is wrong, says nothing. */
export interface Order {
  /** `message`: the messages that stay allowed. */
  readonly messages?: ReadonlySet<string>;
  /** `protocol`: the expression. */
  readonly protocol?: string;
}

export function orderIn(text: string): Order {
  const [, op, value = ""] = /^(message in|protocol =) (.+)$/.exec(text) ?? [];
  if (op === "message in") {
    const messages = readMessages(value);
    return messages === undefined ? {} : { messages };
  }
  return (op === "protocol =" ? readProtocol(value) : undefined) ?? {};
}

export function readMessages(value: string): ReadonlySet<string> | undefined {
  const names = value.split(",");
  return names.every((name) => MESSAGE_NAME.test(name)) ? new Set(names) : undefined;
}

/** `<expression> [@ <label>]`. No expression holds an `@`; what it does hold is for the compiler to say. */
const LABELLED = /^([^@]*[^@\s])(?:\s*@\s*([0-9a-f]{8}))?$/;

export function readProtocol(
  value: string,
): { readonly protocol: string; readonly label?: string } | undefined {
  const [, protocol, label] = LABELLED.exec(value) ?? [];
  if (protocol === undefined) return undefined;
  return { protocol, ...(label !== undefined && { label }) };
}
