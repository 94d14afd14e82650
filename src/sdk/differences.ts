/** Why a signature does not verify that its maker made: something in between has changed the request. */
import type { Shown } from "../request/received.ts";

/** @param received a gate's word, or a proxy's: looked at as it is  @returns `@authority: signed gate.example, received 10.0.0.7:8787`, for each component that arrived otherwise. */
export function differences(signed: Shown, received: object): readonly string[] {
  const arrived = new Map(Object.entries(received).map(([name, value]) => [name, String(value)]));
  const names = new Set([...Object.keys(signed), ...arrived.keys()]);
  return [...names]
    .filter((name) => signed[name] !== arrived.get(name))
    .map(
      (name) => `${name}: signed ${signed[name] ?? "nothing"}, received ${arrived.get(name) ?? "nothing"}`,
    );
}
