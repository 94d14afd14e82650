/** What reaches a command from outside, for commands that run in the tests' own process: starting one takes longer. */
import type { Environment } from "../../src/cli/command.ts";
import { random } from "./gate.ts";

export function testEnvironment(more: Partial<Environment> = {}): Environment {
  return {
    env: {},
    stdin: async () => "",
    write: () => {},
    note: () => {},
    status: () => {},
    colour: false,
    rows: undefined,
    columns: 80,
    pause: async () => false,
    now_ms: () => Date.now(),
    random,
    interrupted: () => new Promise(() => {}),
    ...more,
  };
}
