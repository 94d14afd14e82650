/**
 * What a node and its supervisor say to each other, and the node's side of it.
 *
 * The node tells several times a second that its loop turns, and what its threads are at. It is told when to stop, and
 * stops by itself when nobody supervises it any more.
 */
import { HEARTBEAT_MS } from "../limits.ts";
import type { Blamed } from "../quarantine.ts";

/** A turn that is under way. */
export interface TurnReport extends Blamed {
  /** Heartbeats since it began: time in which the whole process was stopped is in nobody's count. */
  readonly beats: number;
  /** Of its thread's CPU since the first of them; `undefined` where the system does not tell. */
  readonly cpu_ms: number | undefined;
}

export type FromNode =
  | { readonly turns: readonly TurnReport[] }
  /** Where it listens; after a restart it must be the same. */
  | { readonly port: number }
  /** It comes to its end by itself, with that exit code. */
  | { readonly ending: number };

export type StopSignal = "SIGTERM" | "SIGINT";

export type ToNode = { readonly stop: StopSignal };

/** What a node is started with, as JSON in its environment. */
export interface Commission {
  /** Of the node that it follows. */
  readonly port?: number;
  /** It follows one that was killed or has crashed. */
  readonly restarted: boolean;
  /** Modules whose turns did not end. */
  readonly blamed: readonly Blamed[];
}

export const COMMISSION_VARIABLE = "POSTERN_SUPERVISED";

/** `undefined` where no supervisor has started this process. */
export function commissionOf(env: Readonly<Record<string, string | undefined>>): Commission | undefined {
  const text = env[COMMISSION_VARIABLE];
  return text === undefined || process.send === undefined ? undefined : (JSON.parse(text) as Commission);
}

/** The node's end of it. It keeps no process alive. */
export class Supervised {
  readonly #stop = Promise.withResolvers<StopSignal>();
  #turns: () => readonly TurnReport[] = () => [];

  constructor() {
    process.on("message", ({ stop }: ToNode) => this.#stop.resolve(stop));
    process.on("disconnect", () => this.#stop.resolve("SIGINT"));
    // They come here, too, where a terminal or a service manager signals all processes of a group.
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => this.#stop.resolve(signal));
    process.channel?.unref();
    setInterval(() => tell({ turns: this.#turns() }), HEARTBEAT_MS).unref();
  }

  /** Resolves when the node is to stop. */
  get stopped(): Promise<StopSignal> {
    return this.#stop.promise;
  }

  /** @param turns what its threads are at, asked for at each heartbeat */
  listens(url: string, turns: () => readonly TurnReport[]): void {
    this.#turns = turns;
    // Of 80 a URL does not speak.
    tell({ port: Number(new URL(url).port || 80) });
  }
}

/** Nobody may hear it any more; then `disconnect` tells. */
function tell(what: FromNode): void {
  if (process.connected) process.send?.(what, undefined, {}, () => {});
}

/** The node has come to its end. Should a thread keep its process, somebody ends it: the supervisor, while it lives. */
export function endSupervised(exitCode: number): void {
  if (process.connected) tell({ ending: exitCode });
  else process.kill(process.pid, "SIGKILL");
}
