/**
 * Several protocols as one: what all of them admit, from where each stands. What a token with several protocol
 * caveats may send is this.
 *
 * A state of which no message leads on need not be one where all may end: protocols can block each other. So
 * the promise of `compileProtocol` that no state is dead does not hold here; numbers are canonical all the same.
 */
import { type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_STATES_MAX } from "../limits.ts";
import { type Automaton, blankTable, canonical } from "./automaton.ts";
import type { Residual } from "./inclusion.ts";

/** @param protocols one or more */
export function meet(protocols: readonly Residual[]): Automaton | Refusal {
  const [first, ...others] = protocols;
  const sets = others.map(({ automaton }) => new Set(automaton.alphabet));
  const alphabet = first?.automaton.alphabet.filter((message) => sets.every((set) => set.has(message))) ?? [];
  const start = protocols.map(({ state }) => state);
  const numbers = new Map([[start.join(), 0]]);
  const points = [start];
  const rows: (readonly number[])[] = [];
  for (const point of points) {
    const row = alphabet.map((message) => {
      const next = protocols.map(({ automaton }, index) => automaton.next(point[index] ?? -1, message) ?? -1);
      if (next.includes(-1)) return -1;
      const known = numbers.get(next.join());
      if (known !== undefined) return known;
      numbers.set(next.join(), points.length);
      return points.push(next) - 1;
    });
    rows.push(row);
    if (points.length > PROTOCOL_STATES_MAX)
      return refuse(
        "malformed_request",
        `together the protocols have more than ${PROTOCOL_STATES_MAX} states`,
      );
  }
  // Every message of the table must be one that some state admits.
  const used = alphabet.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== -1));
  const table = blankTable(
    used.map((column) => alphabet[column] ?? ""),
    points.length,
  );
  table.targets.set(rows.flatMap((row) => used.map((column) => row[column] ?? -1)));
  table.accepting.set(
    points.map((point) => Number(protocols.every(({ automaton }, i) => automaton.accepting(point[i] ?? -1)))),
  );
  return canonical(table);
}
