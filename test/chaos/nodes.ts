/**
 * A supervisor in miniature: a node is started, and started anew whenever it has ended.
 *
 * A node may be killed, and may end itself with exit code 3 (unavailable: it lost its lease, or the store). Any other
 * end is a mistake of the node's, and is told.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { type NodeProcess, NotStarted, startNodeProcess } from "../support/node-process.ts";

/** As a supervisor waits before it starts a process again. */
const RESTART_PAUSE_MS = 200;
const UNAVAILABLE = 3;

export interface NodeSetup {
  readonly store: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The file that gets what it writes, and what becomes of it. */
  readonly log: string;
  readonly say: (what: string) => void;
  /** Told of ends that no node may come to. */
  readonly unexpected: (what: string) => void;
}

export class ManagedNode {
  readonly name: string;
  /** The shards that it leads, as far as it has said so. */
  readonly leads = new Set<number>();
  readonly #setup: NodeSetup;
  readonly #log: WriteStream;
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
    this.#log = createWriteStream(setup.log);
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
    this.#process?.signal("SIGSTOP");
  }

  resume(): void {
    this.#paused = false;
    this.#process?.signal("SIGCONT");
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.kill();
    await this.#supervision;
    this.#log.end();
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
      this.leads.clear();
      const started = await startNodeProcess(store, args, env, (line) => this.#read(line));
      this.#killed = false;
      this.#paused = false;
      this.#url = started.url;
      this.#process = started;
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
    this.#note(`ended with ${code ?? "a signal"}: ${complaint}`);
    if (this.#killed && code === null) return;
    this.#stepDowns++;
    const last = complaint.trim().split("\n").at(-1);
    this.#setup.say(`node ${this.name} ended by itself: ${last}`);
    if (code !== UNAVAILABLE)
      this.#setup.unexpected(`node ${this.name} ended with ${code ?? "a signal"}: ${complaint}`);
  }

  #read(line: string): void {
    this.#log.write(`${line}\n`);
    if (!line.includes('"event":"shard_')) return;
    const { event, shard } = JSON.parse(line) as { event: string; shard: number };
    if (event === "shard_opened") this.leads.add(shard);
    else this.leads.delete(shard);
  }

  #note(what: string): void {
    this.#log.write(`${new Date().toISOString()} node ${this.name} ${what}\n`);
  }
}
