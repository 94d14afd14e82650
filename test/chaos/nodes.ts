/**
 * A supervisor in miniature: a node is started, and started anew whenever it has ended.
 *
 * A node may be killed, and may end itself with exit code 3 (unavailable: it lost its lease, or the store). Any other
 * end is a mistake of the node's, and is told.
 */
import { setTimeout } from "node:timers/promises";
import { type NodeProcess, NotStarted, startNodeProcess } from "../support/node-process.ts";

/** As a supervisor waits before it starts a process again. */
const RESTART_PAUSE_MS = 200;
const UNAVAILABLE = 3;
/** The last events of each node, to be read where a run fails. */
const EVENTS_KEPT = 200;

export interface NodeSetup {
  readonly store: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Told of ends that no node may come to. */
  readonly unexpected: (what: string) => void;
}

export class ManagedNode {
  readonly name: string;
  /** What became of it, and what it wrote beside its request lines. */
  readonly events: string[] = [];
  readonly #setup: NodeSetup;
  #process: NodeProcess | undefined;
  #url = "http://127.0.0.1:1";
  #ending = false;
  #killed = false;
  #paused = false;
  #stepDowns = 0;
  readonly #supervision: Promise<void>;

  constructor(name: string, setup: NodeSetup) {
    this.name = name;
    this.#setup = setup;
    this.#supervision = this.#supervise();
  }

  /** Where it listens, or listened last. */
  get url(): string {
    return this.#url;
  }

  get isUp(): boolean {
    return this.#process !== undefined && !this.#paused;
  }

  /** How often it has ended by itself. */
  get stepDowns(): number {
    return this.#stepDowns;
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await this.#process?.kill();
  }

  pause(): void {
    this.#paused = true;
    this.#process?.child.kill("SIGSTOP");
  }

  resume(): void {
    this.#paused = false;
    this.#process?.child.kill("SIGCONT");
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.kill();
    await this.#supervision;
  }

  async #supervise(): Promise<void> {
    while (!this.#ending) {
      const started = await this.#start();
      if (started !== undefined) {
        const code = await started.exited;
        this.#process = undefined;
        this.#judge(code, started.complaint());
      }
      if (!this.#ending) await setTimeout(RESTART_PAUSE_MS);
    }
  }

  async #start(): Promise<NodeProcess | undefined> {
    const { store, args, env } = this.#setup;
    try {
      this.#note("starts");
      const started = await startNodeProcess(store, args, env);
      this.#note(`listens on ${started.url}`);
      this.#killed = false;
      this.#url = started.url;
      this.#process = started;
      this.#keepEvents(started);
      // It was started while the run came to its end.
      if (this.#ending) await this.kill();
      return started;
    } catch (error) {
      if (!(error instanceof NotStarted)) throw error;
      this.#judge(error.code, error.message);
      return undefined;
    }
  }

  #judge(code: number | null, complaint: string): void {
    this.#note(`ended with ${code ?? "a signal"}: ${complaint.trim().split("\n").at(-1)}`);
    if (this.#killed && code === null) return;
    this.#stepDowns++;
    if (code !== UNAVAILABLE)
      this.#setup.unexpected(`node ${this.name} ended with ${code ?? "a signal"}: ${complaint}`);
  }

  #keepEvents({ child }: NodeProcess): void {
    let rest = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.includes('"event"')) this.#note(line);
    });
  }

  #note(line: string): void {
    this.events.push(`${new Date().toISOString()} ${line}`);
    if (this.events.length > EVENTS_KEPT) this.events.shift();
  }
}
