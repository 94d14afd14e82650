/**
 * Handing out parts of a capability's order, offline: split and restrict.
 *
 * `split` writes one token for each part, and refuses unless every interleaving of the parts stays within what is
 * left of the token's own protocols: the parts then never refuse each other, whatever their holders do. `restrict`
 * is the weaker form, one narrower protocol that is in order by itself; whoever else uses the token may still get
 * ahead of it. Both are attenuations like any other, so a gate admits no more because of them, and a wrong `after`
 * can only make a promise of progress empty.
 *
 * There is no join: a token can only be narrowed, and who kept the token that was split still has the whole.
 */
import { formatCaveat, formatLabelledProtocol, parseCaveat } from "../authorize/caveats.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_PARTS_MAX } from "../limits.ts";
import { narrow } from "../narrow.ts";
import { type Automaton, compileProtocol } from "../protocol/automaton.ts";
import {
  anyOrder,
  findViolation,
  fresh,
  type Residual,
  residual,
  type Violation,
} from "../protocol/inclusion.ts";
import type { Addition } from "../token/chain.ts";
import { decodeToken, encodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";

export interface RestrictOptions {
  /** Messages sent before, in order, that moved all of the token's protocols. None unless said. */
  readonly after?: readonly string[];
  /**
   * Further caveats, as text or prepared by `postern/third-party`, written before the protocol: `expires` belongs there, so
   * that a gate can forget it.
   */
  readonly caveats?: readonly Addition[];
}

export interface SplitOptions extends RestrictOptions {
  /** Fresh random bytes: labels tell the monitors of equal parts apart. */
  readonly random: (length: number) => Uint8Array;
}

/**
 * @param token in any form that a gate reads
 * @param protocols an expression for each part, two or more
 * @returns a token for each part, or `out_of_order` with a shortest `word` that the parts could send and the token
 *   does not admit; `malformed_request` and the token's own refusals where something cannot be read
 */
export function splitToken(
  token: string,
  protocols: readonly string[],
  options: SplitOptions,
): readonly string[] | Refusal {
  const macaroon = decodeToken(token);
  if (isRefusal(macaroon)) return macaroon;
  const parts = split(macaroon, protocols, options);
  return isRefusal(parts) ? parts : parts.map(encodeToken);
}

/** @returns one token that follows `protocol`; refusals as `splitToken`. */
export function restrictToken(
  token: string,
  protocol: string,
  options: RestrictOptions = {},
): string | Refusal {
  const macaroon = decodeToken(token);
  if (isRefusal(macaroon)) return macaroon;
  const restricted = restrict(macaroon, protocol, options);
  return isRefusal(restricted) ? restricted : encodeToken(restricted);
}

/** `splitToken` for what is decoded already. */
export function split(
  macaroon: Macaroon,
  protocols: readonly string[],
  { after = [], caveats = [], random }: SplitOptions,
): readonly Macaroon[] | Refusal {
  if (protocols.length < 2 || protocols.length > PROTOCOL_PARTS_MAX)
    return refuse(
      "malformed_request",
      `a split has 2 to ${PROTOCOL_PARTS_MAX} parts, not ${protocols.length}`,
    );
  const misfit = refuseMisfit(macaroon, protocols, after);
  if (misfit !== undefined) return misfit;
  // One number drawn and counted on from: labels of one split differ for certain, those of two by chance.
  const first = new DataView(random(4).slice().buffer).getUint32(0);
  const parts: Macaroon[] = [];
  for (const [index, protocol] of protocols.entries()) {
    const label = (first + index) % 2 ** 32;
    const part = narrow(macaroon, [...caveats, formatLabelledProtocol(oneLine(protocol), label)]);
    if (isRefusal(part)) return part;
    parts.push(part);
  }
  return parts;
}

/** `restrictToken` for what is decoded already. */
export function restrict(
  macaroon: Macaroon,
  protocol: string,
  { after = [], caveats = [] }: RestrictOptions = {},
): Macaroon | Refusal {
  const misfit = refuseMisfit(macaroon, [protocol], after);
  return misfit ?? narrow(macaroon, [...caveats, formatCaveat("protocol", oneLine(protocol))]);
}

/** A caveat is one line. White space means nothing in an expression. */
function oneLine(expression: string): string {
  return expression.trim().replaceAll(/\s+/g, " ");
}

/** A caveat that says which messages may be sent when, with where it stands. */
interface Outer extends Residual {
  readonly caveat: { readonly index: number; readonly text: string };
}

function refuseMisfit(
  macaroon: Macaroon,
  protocols: readonly string[],
  after: readonly string[],
): Refusal | undefined {
  const outers = readOuters(macaroon, after);
  if (isRefusal(outers)) return outers;
  const parts: Residual[] = [];
  for (const protocol of protocols) {
    const automaton = compileProtocol(protocol);
    if (isRefusal(automaton)) return automaton;
    parts.push(fresh(automaton));
  }
  const found = findViolation(parts, outers);
  if (found === undefined || isRefusal(found)) return found;
  return describeMisfit(found, outers, parts.length);
}

/** Everything in the token that has a say in the order, after the messages sent before. */
function readOuters(macaroon: Macaroon, after: readonly string[]): readonly Outer[] | Refusal {
  const outers: Outer[] = [];
  for (const [index, { cid, vid }] of macaroon.unsafeCaveats.entries()) {
    if (vid !== undefined) continue; // A third party only ever withholds; it says nothing about order.
    const caveat = parseCaveat(fromUtf8(cid) ?? "", index);
    if (isRefusal(caveat)) return caveat;
    const at = { index, text: caveat.text };
    // Which messages a token leaves has no state: what came before it may well have been sent with a wider one.
    if (caveat.messages !== undefined) outers.push({ ...anyOrder(caveat.messages), caveat: at });
    if (caveat.protocol === undefined) continue;
    const automaton = compileProtocol(caveat.protocol);
    if (isRefusal(automaton)) return automaton.with({ caveat: at });
    const outer = standing(automaton, after, at);
    if (isRefusal(outer)) return outer;
    outers.push(outer);
  }
  return outers;
}

function standing(automaton: Automaton, after: readonly string[], caveat: Outer["caveat"]): Outer | Refusal {
  const rest = residual(automaton, after);
  if (rest !== undefined) return { ...rest, caveat };
  // The longest start that was admitted; the message after it was not.
  const count = after.findIndex((_, index) => residual(automaton, after.slice(0, index + 1)) === undefined);
  const enabled = automaton.enabled(residual(automaton, after.slice(0, count))?.state ?? -1);
  const detail = `${after[count]} cannot have been sent after ${listed(after.slice(0, count))}: ${named(caveat)}`;
  return refuse("out_of_order", `${detail} admitted ${listed(enabled)}`, {
    word: after.slice(0, count + 1),
    enabled,
    caveat,
  });
}

function describeMisfit({ word, by, enabled }: Violation, outers: readonly Outer[], parts: number): Refusal {
  const before = word
    .slice(0, -1)
    .map(({ message, part }) => message + (parts > 1 ? ` (part ${part + 1})` : ""));
  const last = word.at(-1);
  const who = parts > 1 ? `part ${(last?.part ?? 0) + 1}` : "the protocol";
  const caveat = outers[by]?.caveat;
  const detail =
    `after ${listed(before)}, ${who} admits ${last?.message}, ` +
    `but ${caveat === undefined ? "the token" : named(caveat)} admits ${listed(enabled)}`;
  return refuse("out_of_order", detail, {
    word: word.map(({ message }) => message),
    enabled,
    ...(caveat !== undefined && { caveat }),
  });
}

const named = ({ index, text }: Outer["caveat"]): string => `caveat ${index} (${text})`;
const listed = (messages: readonly string[]): string => messages.join(", ") || "nothing";
