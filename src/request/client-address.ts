/**
 * The caller's address: the socket's, or what proxies that are trusted by their own address have written down.
 *
 * Each proxy adds whom it was called by, at the end of `X-Forwarded-For` or `Forwarded` (RFC 7239). Read from the end,
 * the first address that is no trusted proxy's is the caller's; what stands before it anybody may have sent. Where a
 * request has both fields they must agree, because a proxy that writes the one lets a caller's other pass.
 */
import { type Address, formatAddress, isWithin, parseAddress, type Range } from "../ip.ts";
import { withoutSpaces } from "./headers.ts";

export interface Sources {
  /** The address at the other end of the socket; `undefined` where there is no socket. */
  readonly peer: string | undefined;
  /** Header fields, their lines joined by `, `; `null` where absent. */
  readonly xForwardedFor: string | null;
  readonly forwarded: string | null;
}

/** @returns `undefined` where it cannot be told: whoever needs it must refuse */
export function clientAddress(sources: Sources, proxies: readonly Range[]): Address | undefined {
  const peer = parseAddress(sources.peer ?? "");
  if (peer === undefined) return undefined;
  const hops: (readonly string[])[] = [];
  if (sources.xForwardedFor !== null) hops.push(sources.xForwardedFor.split(","));
  if (sources.forwarded !== null) hops.push(forwardedFor(sources.forwarded));
  const isProxy = (address: Address): boolean => proxies.some((range) => isWithin(address, range));
  // Without either field the proxy calls for itself.
  const callers = (hops.length === 0 ? [[]] : hops).map((names) => callerBehind(peer, names, isProxy));
  const [caller] = callers;
  return caller !== undefined && callers.every((other) => isSame(other, caller)) ? caller : undefined;
}

function callerBehind(
  peer: Address,
  names: readonly string[],
  isProxy: (address: Address) => boolean,
): Address | undefined {
  let caller = peer;
  for (const name of names.toReversed()) {
    if (!isProxy(caller)) break;
    const next = nodeAddress(withoutSpaces(name));
    // A proxy that does not know, or does not say, whom it was called by.
    if (next === undefined) return undefined;
    caller = next;
  }
  return caller;
}

function isSame(a: Address | undefined, b: Address): boolean {
  return a !== undefined && formatAddress(a) === formatAddress(b);
}

/** The `for` of each element; an empty name where it has none, or two. */
function forwardedFor(field: string): readonly string[] {
  return unquotedParts(field, ",").map((element) => {
    const named = unquotedParts(element, ";").flatMap(
      (pair) => /^for=(?:"([^"\\]*)"|([^"]*))$/i.exec(withoutSpaces(pair))?.slice(1) ?? [],
    );
    const names = named.filter((name) => name !== undefined);
    return names.length === 1 ? (names[0] ?? "") : "";
  });
}

/** Split where the separator stands outside quotes. */
function unquotedParts(text: string, separator: "," | ";"): readonly string[] {
  const parts: string[] = [];
  let [start, quoted] = [0, false];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted;
    if (text[at] !== separator || quoted) continue;
    parts.push(text.slice(start, at));
    start = at + 1;
  }
  return [...parts, text.slice(start)];
}

/** An address with or without a port; IPv6 in brackets or, as in X-Forwarded-For, without. */
function nodeAddress(name: string): Address | undefined {
  const [, v6] = /^\[([^\]]*:[^\]]*)\](?::\d{1,5})?$/.exec(name) ?? [];
  const [, v4] = /^([\d.]+)(?::\d{1,5})?$/.exec(name) ?? [];
  return parseAddress(v6 ?? v4 ?? name);
}
