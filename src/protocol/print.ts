/**
 * Protocol expressions: tree to text, in two styles that parse to the same tree.
 *
 * `printProtocol` is canonical: parsing what it prints gives an equal tree, and it is never longer than a text that
 * gave the tree. `formatProtocol` is for people: it puts spaces around operators, breaks over lines what does not
 * fit, and adds the parentheses that a reader who does not know how tightly `&` binds would miss.
 */
import { INFIX, type Protocol } from "./grammar.ts";

/** No spaces, and only the parentheses that the grammar needs. */
export function printProtocol(protocol: Protocol): string {
  return print(protocol, 0);
}

/** `level`: the operator around, as an index into `INFIX`, whose length stands for the postfix operators. */
function print(protocol: Protocol, level: number): string {
  if (protocol.kind === "end") return "end";
  if (protocol.kind === "message") return protocol.name;
  if (protocol.kind === "repeat") {
    const text = print(protocol.body, INFIX.length) + printTimes(protocol.min, protocol.max);
    return level === INFIX.length ? `(${text})` : text;
  }
  const own = levelOf(protocol);
  const text = protocol.parts.map((part) => print(part, own)).join(INFIX[own]?.operator);
  return level > own ? `(${text})` : text;
}

function printTimes(min: number, max: number): string {
  if (max === Infinity) return min === 0 ? "*" : "+";
  return min === 0 && max === 1 ? "?" : `{${min},${max}}`;
}

function levelOf(protocol: Protocol): number {
  return INFIX.findIndex(({ kind }) => kind === protocol.kind);
}

/** @param width columns that a line should keep within; a single message may still be longer */
export function formatProtocol(protocol: Protocol, width = Infinity): string {
  return format(protocol, undefined, { width, indent: 0, after: 0 });
}

/** Where a piece of text stands: how far in it begins, and how many characters must fit behind it on its last line. */
interface Place {
  readonly width: number;
  readonly indent: number;
  readonly after: number;
}

function format(protocol: Protocol, around: Protocol | undefined, place: Place): string {
  if (protocol.kind === "end") return "end";
  if (protocol.kind === "message") return protocol.name;
  if (grouped(protocol, around)) return group(protocol, place);
  const flat = formatFlat(protocol);
  if (fits(flat, place)) return flat;
  if (protocol.kind === "repeat") {
    const times = printTimes(protocol.min, protocol.max);
    return format(protocol.body, protocol, { ...place, after: place.after + times.length }) + times;
  }
  const operator = ` ${INFIX[levelOf(protocol)]?.operator}`;
  const lines = protocol.parts.map((part, index) => {
    const last = index === protocol.parts.length - 1;
    const own = last ? place : { ...place, after: operator.length };
    return formatPart(part, protocol, own) + (last ? "" : operator);
  });
  return lines.join(`\n${" ".repeat(place.indent)}`);
}

/** What takes several lines inside something that does, too, is put in parentheses: lines have no precedence. */
function formatPart(part: Protocol, around: Protocol, place: Place): string {
  const several = levelOf(part) >= 0 && !fits(formatFlat(part), place);
  return several && !grouped(part, around) ? group(part, place) : format(part, around, place);
}

function fits(flat: string, { indent, after, width }: Place): boolean {
  return indent + flat.length + after <= width;
}

/** In parentheses, on one line where that fits and on lines of its own where not. */
function group(protocol: Protocol, place: Place): string {
  const flat = `(${formatFlat(protocol)})`;
  if (fits(flat, place)) return flat;
  const indent = place.indent + 2;
  const inner = format(protocol, undefined, { ...place, indent, after: 0 });
  return `(\n${" ".repeat(indent)}${inner}\n${" ".repeat(place.indent)})`;
}

function formatFlat(protocol: Protocol): string {
  if (protocol.kind === "end") return "end";
  if (protocol.kind === "message") return protocol.name;
  const flat = (part: Protocol): string =>
    grouped(part, protocol) ? `(${formatFlat(part)})` : formatFlat(part);
  if (protocol.kind === "repeat") return flat(protocol.body) + printTimes(protocol.min, protocol.max);
  return protocol.parts.map(flat).join(` ${INFIX[levelOf(protocol)]?.operator} `);
}

/** Needs parentheses by the grammar, or is something infix beside an `&`, whose place in the order few remember. */
function grouped(part: Protocol, around: Protocol | undefined): boolean {
  if (around === undefined || part.kind === "end" || part.kind === "message") return false;
  if (around.kind === "repeat") return true;
  if (part.kind === "repeat") return false;
  return levelOf(part) < levelOf(around) || part.kind === "shuffle" || around.kind === "shuffle";
}
