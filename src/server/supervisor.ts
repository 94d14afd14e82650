/**
 * The supervisor of a node: a small process that starts it, watches it, and starts it anew.
 *
 * Nothing inside a process stops the worst loops of a handler: not the end of its thread, nor `process.exit`. So a node
 * whose loop is silent, or that has a turn which fuel has not ended, is killed as a crash would end it. What it has
 * acknowledged is in the log, and its successor listens at the same place a moment later. The module that ran then is
 * blamed, and its turns are refused from then on. A node that ends by itself is not started again: its exit code is
 * the supervisor's.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import {
  HEARTBEAT_MS,
  HEARTBEATS_MISSED_MAX,
  NODE_END_MS_MAX,
  NODE_START_BEATS_MAX,
  RESTART_PAUSE_MS_MAX,
  RESTART_PAUSE_MS_MIN,
  RESTART_WINDOW_MS,
  RESTARTS_MAX,
  SAME_SIGNAL_MS,
  TURN_WEDGED_BEATS,
  TURN_WEDGED_BEATS_UNMEASURED,
  TURN_WEDGED_CPU_MS,
} from "../limits.ts";
import type { Blamed } from "../quarantine.ts";
import {
  COMMISSION_VARIABLE,
  type Commission,
  type FromNode,
  type StopSignal,
  type ToNode,
  type TurnReport,
} from "./supervision.ts";

export interface SupervisorOptions {
  /** What Node runs: a script and its arguments. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The exit code of a node that did not reach what it needs. */
  readonly unavailable: number;
  /** What becomes of the node, for the operator. */
  readonly event: (event: SupervisorEvent, detail: string, facts?: object) => void;
  /** Only tests have less. */
  readonly patience?: Patience;
}

/** How long what is wrong is borne. */
export interface Patience {
  /** Heartbeats and CPU of a turn that fuel has not ended. */
  readonly turnBeats: number;
  readonly turnCpu_ms: number;
  /** Heartbeats missed. */
  readonly silentBeats: number;
  /** Before the first restart, doubled for each further one. */
  readonly pause_ms: number;
}

const PATIENCE: Patience = {
  turnBeats: TURN_WEDGED_BEATS,
  turnCpu_ms: TURN_WEDGED_CPU_MS,
  silentBeats: HEARTBEATS_MISSED_MAX,
  pause_ms: RESTART_PAUSE_MS_MIN,
};

export type SupervisorEvent = "turn_wedged" | "node_silent" | "node_crashed" | "node_restarted" | "gave_up";

/** How a node came to its end: by itself with an exit code, or not. */
type End = { readonly code: number } | { readonly crashed: string };

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #patience: Patience;
  #commission: Commission = { restarted: false, blamed: [] };
  #child: ChildProcess | undefined;
  #stopping: { readonly signal: StopSignal; readonly at_ms: number } | undefined;
  /** When nodes have crashed, monotonic ms. */
  #crashes: number[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#patience = options.patience ?? PATIENCE;
  }

  /** Passes a signal on; another one, later, ends the node at once. */
  stop(signal: StopSignal): void {
    if (this.#stopping === undefined) {
      this.#stopping = { signal, at_ms: performance.now() };
      this.#tell({ stop: signal });
    } else if (performance.now() - this.#stopping.at_ms > SAME_SIGNAL_MS) this.#child?.kill("SIGKILL");
  }

  /** @returns the node's exit code; `undefined` where it did not come to one, and is not started again */
  async run(): Promise<number | undefined> {
    for (;;) {
      const end = await this.#runOnce();
      if ("code" in end) return end.code;
      const pause_ms = this.#stopping === undefined ? this.#pauseAfter(end.crashed) : undefined;
      if (pause_ms === undefined) return undefined;
      await setTimeout(pause_ms);
      if (this.#stopping !== undefined) return undefined;
      this.#commission = { ...this.#commission, restarted: true };
      this.#options.event("node_restarted", end.crashed);
    }
  }

  async #runOnce(): Promise<End> {
    const { command, env } = this.#options;
    const { silentBeats } = this.#patience;
    const child = spawn(process.execPath, command, {
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      env: { ...env, [COMMISSION_VARIABLE]: JSON.stringify(this.#commission) },
    });
    this.#child = child;
    if (this.#stopping !== undefined) this.#tell({ stop: this.#stopping.signal });
    const { promise, resolve } = Promise.withResolvers<End>();
    let ending: number | undefined;
    let listened = false;
    let killedFor: string | undefined;
    let missed = -NODE_START_BEATS_MAX;
    const kill = (why: string): void => {
      killedFor ??= why;
      child.kill("SIGKILL");
    };
    child.on("message", (said: FromNode) => {
      if ("port" in said) {
        listened = true;
        // It has seen to those who were blamed.
        this.#commission = { ...this.#commission, port: said.port, blamed: [] };
      } else if ("ending" in said) {
        ending = said.ending;
        void setTimeout(NODE_END_MS_MAX, undefined, { ref: false }).then(() => child.kill("SIGKILL"));
      } else {
        missed = 0;
        const wedged = said.turns.find((turn) => isWedged(turn, this.#patience));
        if (wedged !== undefined && killedFor === undefined) kill(this.#blame(wedged));
      }
    });
    // Ticks, not times: while the machine or this process was stopped, nobody was silent.
    const watch = setInterval(() => {
      missed++;
      if (missed < silentBeats || ending !== undefined || killedFor !== undefined) return;
      const why = `the node's loop was silent for ${(silentBeats * HEARTBEAT_MS) / 1000} s`;
      this.#options.event("node_silent", why);
      kill(why);
    }, HEARTBEAT_MS);
    child.on("error", (error) => resolve({ crashed: `the node did not start: ${error.message}` }));
    child.on("exit", (code, signal) => {
      // Whoever began the node knew that it could; one that follows may meet a store that is away.
      const again = this.#commission.restarted && !listened && ending === this.#options.unavailable;
      if (ending !== undefined && !again) resolve({ code: ending });
      else resolve({ crashed: killedFor ?? `the node ended with ${signal ?? `exit code ${code}`}` });
    });
    const end = await promise;
    clearInterval(watch);
    this.#child = undefined;
    return end;
  }

  #blame({ hash, tenant }: Blamed): string {
    const { blamed } = this.#commission;
    this.#commission = { ...this.#commission, blamed: [...blamed, { hash, tenant }] };
    const detail = "a turn did not end when its fuel did: the node is killed, and the handler quarantined";
    this.#options.event("turn_wedged", detail, { handler: hash, tenant });
    return `a turn of handler ${hash} of tenant ${tenant} did not end`;
  }

  /** @returns how long to wait before the next start; `undefined` where there were too many */
  #pauseAfter(crashed: string): number | undefined {
    const now_ms = performance.now();
    this.#crashes = [...this.#crashes.filter((at_ms) => now_ms - at_ms < RESTART_WINDOW_MS), now_ms];
    const count = this.#crashes.length;
    if (count > RESTARTS_MAX) {
      const often = `${count} times in ${RESTART_WINDOW_MS / 1000} s`;
      this.#options.event("gave_up", `the node has ended ${often}, the last time because ${crashed}`);
      return undefined;
    }
    this.#options.event("node_crashed", crashed);
    return Math.min(this.#patience.pause_ms * 2 ** (count - 1), RESTART_PAUSE_MS_MAX);
  }

  #tell(what: ToNode): void {
    if (this.#child?.connected === true) this.#child.send(what, () => {});
  }
}

/** Far past what fuel allows, in time that its thread was given: a turn on a busy machine only takes long. */
function isWedged({ beats, cpu_ms }: TurnReport, { turnBeats, turnCpu_ms }: Patience): boolean {
  if (cpu_ms === undefined) return beats >= TURN_WEDGED_BEATS_UNMEASURED;
  return beats >= turnBeats && cpu_ms >= turnCpu_ms;
}
