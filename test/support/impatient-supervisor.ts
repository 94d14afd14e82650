/** `postern serve …` under a supervisor that loses patience soon, so that a test need not wait for it. */
import { EXIT } from "../../src/cli/command.ts";
import { Supervisor } from "../../src/server/supervisor.ts";
import { BIN } from "./node-process.ts";

const supervisor = new Supervisor({
  command: [BIN, ...process.argv.slice(2)],
  env: process.env,
  unavailable: EXIT.unavailable,
  event: (event, detail, facts) => console.info(JSON.stringify({ event, ...facts, detail })),
  patience: { turnBeats: 4, turnCpu_ms: 200, silentBeats: 8, pause_ms: 10 },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => supervisor.stop(signal));
process.exitCode = (await supervisor.run()) ?? EXIT.unavailable;
