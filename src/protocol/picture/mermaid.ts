/** A graph as Mermaid's stateDiagram-v2. Message names have no character that means something there. */
import type { Graph } from "./graph.ts";

export function drawMermaid({ states, edges }: Graph): string {
  const lines = ["stateDiagram-v2", "  direction LR"];
  for (const { number } of states) lines.push(`  state "${number}" as s${number}`);
  lines.push("  [*] --> s0");
  for (const { number, loops } of states)
    if (loops.length > 0) lines.push(`  s${number} --> s${number}: ${loops.join(", ")}`);
  for (const { from, to, messages } of edges) lines.push(`  s${from} --> s${to}: ${messages.join(", ")}`);
  for (const { number, accepting } of states) if (accepting) lines.push(`  s${number} --> [*]`);
  const current = states.find((state) => state.current);
  if (current !== undefined && current.number !== 0)
    lines.push("  classDef current stroke-width:3px", `  class s${current.number} current`);
  return lines.join("\n");
}
