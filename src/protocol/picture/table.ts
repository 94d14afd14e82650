/** A graph as a table: a row for each state, a column for each message; as lists where that is too wide. */
import type { Graph, State } from "./graph.ts";

/** `▶` is where the protocol stands, `■` where it may end, `·` what is not admitted. */
export function drawTable(graph: Graph, width: number): string {
  const messages = alphabetOf(graph);
  const cells = graph.states.map((state) => {
    const targets = targetsOf(graph, state);
    return [nameOf(state), ...messages.map((message) => String(targets.get(message) ?? "·"))];
  });
  const rows = [["state", ...messages], ...cells];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return Math.max(...lines.map(({ length }) => length)) <= width ? lines.join("\n") : drawLists(graph);
}

function drawLists(graph: Graph): string {
  const lines = graph.states.flatMap((state) => {
    const leaving = graph.edges.filter(({ from }) => from === state.number);
    const ways = leaving.map(({ to, messages }) => `    ${messages.join(", ")} → ${to}`);
    if (state.loops.length > 0) ways.unshift(`    ${state.loops.join(", ")} ↺`);
    return [nameOf(state), ...ways];
  });
  return lines.join("\n");
}

function nameOf({ number, accepting, current }: State): string {
  return `${current ? "▶" : " "} ${number}${accepting ? " ■" : ""}`;
}

function alphabetOf({ states, edges }: Graph): readonly string[] {
  const all = [...states.flatMap(({ loops }) => loops), ...edges.flatMap(({ messages }) => messages)];
  return [...new Set(all)].toSorted();
}

function targetsOf({ edges }: Graph, state: State): ReadonlyMap<string, number> {
  const targets = new Map(state.loops.map((message) => [message, state.number]));
  for (const { from, to, messages } of edges)
    if (from === state.number) for (const message of messages) targets.set(message, to);
  return targets;
}
