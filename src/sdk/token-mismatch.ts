/**
 * Whether a token admits all that a protocol's types allow, decided offline from its text.
 *
 * Only its orders and lists of messages count. Whether it has expired, or others have moved its monitors, the gate
 * will say; so it will of caveats that are not known here.
 */
import { orderIn } from "../authorize/order.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal } from "../errors.ts";
import { type Automaton, compileProtocol } from "../protocol/automaton.ts";
import { decodeTokens } from "../token/envelope.ts";

/**
 * @param token with or without discharges
 * @param done messages that took effect before: a caveat has seen all of them, or was added after them
 * @returns why not, with a shortest word that is refused
 */
export function tokenMismatch(token: string, own: Automaton, done: readonly string[]): string | undefined {
  const tokens = decodeTokens(token);
  if (isRefusal(tokens)) return tokens.detail;
  const [macaroon] = tokens;
  const start = stateAfter(own, done);
  if (start === undefined) return `${done.join(", ")} is no beginning of the protocol`;
  for (const [index, { cid, vid }] of macaroon.unsafeCaveats.entries()) {
    const text = fromUtf8(cid) ?? "";
    const refused = vid === undefined ? refusedBy(text, own, start, done) : undefined;
    if (refused !== undefined) return `caveat ${index} (${text}) does not admit ${refused}`;
  }
  return undefined;
}

function stateAfter(automaton: Automaton, word: readonly string[]): number | undefined {
  let state: number | undefined = 0;
  for (const message of word) state = state === undefined ? undefined : automaton.next(state, message);
  return state;
}

function refusedBy(text: string, own: Automaton, start: number, done: readonly string[]): string | undefined {
  const { messages, protocol } = orderIn(text);
  if (messages !== undefined) return own.alphabet.find((message) => !messages.has(message));
  if (protocol === undefined) return undefined;
  const theirs = compileProtocol(protocol);
  if (isRefusal(theirs)) return "anything: it is no protocol";
  const fresh = shortestRefused(own, start, theirs, 0);
  const moved = stateAfter(theirs, done);
  if (fresh === undefined || moved === undefined) return fresh;
  return shortestRefused(own, start, theirs, moved) === undefined ? undefined : fresh;
}

/** Both automata side by side, breadth first. */
function shortestRefused(own: Automaton, start: number, theirs: Automaton, at: number): string | undefined {
  interface Pair {
    readonly mine: number;
    readonly other: number;
    readonly word: readonly string[];
  }
  const queue: Pair[] = [{ mine: start, other: at, word: [] }];
  const seen = new Set<number>();
  for (const { mine, other, word } of queue) {
    const pair = mine * theirs.stateCount + other;
    if (seen.has(pair)) continue;
    seen.add(pair);
    for (const message of own.enabled(mine)) {
      const [a, b] = [own.next(mine, message), theirs.next(other, message)];
      if (b === undefined) return word.length === 0 ? message : `${message} after ${word.join(", ")}`;
      queue.push({ mine: a ?? mine, other: b, word: [...word, message] });
    }
  }
  return undefined;
}
