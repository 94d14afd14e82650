/**
 * The embedded store (`file:DIR`): one SQLite database in WAL mode with synchronous FULL.
 *
 * A put that is `done` has been fsynced. Several processes may use one directory at once: SQLite serialises
 * their writes, and conditions decide between them as they do on S3. Operations that wait at the same time can be
 * performed as one group: it takes one transaction and one fsync, and each put keeps its own condition and outcome.
 */
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Refusal, refuse } from "../errors.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";

/** How long a write waits for another process's write: theirs take milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
const BUSY_PAUSE_MS = 10;
const SQLITE_BUSY = 5;

// The version comes from one counter for the whole database, so that no etag ever returns for any key.
const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
  INSERT OR IGNORE INTO counter VALUES (1, 0);
`;

/** Of which a statement gives the columns that it names. */
interface Row {
  readonly key: string;
  readonly version: number;
  readonly body: Uint8Array;
}

const FILE = "store.sqlite";

/** A call of the contract as data. */
export type Operation =
  | { readonly get: string }
  | { readonly put: string; readonly body: Uint8Array; readonly condition: PutCondition }
  | { readonly delete: string }
  | { readonly list: string };

/** What that call answers. */
export type Answer = Awaited<ReturnType<Store["get" | "put" | "delete" | "list"]>>;

export function isSqliteStore(directory: string): boolean {
  return existsSync(join(directory, FILE));
}

/** Throws where the directory cannot be made or holds no database of ours: a start-up error, told by the CLI. */
export function sqliteStore(directory: string): SqliteStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // SQLite would make it readable to all; its journals take the mode of the database.
  closeSync(openSync(join(directory, FILE), "a", 0o600));
  const database = new DatabaseSync(join(directory, FILE), { timeout: BUSY_TIMEOUT_MS });
  prepare(database);
  return new SqliteStore(database);
}

/** While another process makes the same database, SQLite answers "busy" at once to who wants it in WAL mode. */
function prepare(database: DatabaseSync): void {
  for (let waited_ms = 0; ; waited_ms += BUSY_PAUSE_MS) {
    try {
      database.exec(SCHEMA);
      return;
    } catch (error) {
      const isBusy = (error as { errcode?: unknown }).errcode === SQLITE_BUSY;
      if (!isBusy || waited_ms >= BUSY_TIMEOUT_MS) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS);
    }
  }
}

class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #version: StatementSync;
  readonly #count: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#get = database.prepare("SELECT version, body FROM objects WHERE key = ?");
    this.#version = database.prepare("SELECT version FROM objects WHERE key = ?");
    this.#count = database.prepare("UPDATE counter SET version = version + 1 RETURNING version");
    this.#put = database.prepare("INSERT OR REPLACE INTO objects (key, version, body) VALUES (?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM objects WHERE key = ?");
    this.#list = database.prepare("SELECT key FROM objects WHERE substr(key, 1, length(?1)) = ?1");
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    return this.#read(key);
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    try {
      return this.#transact(() => this.#write(key, body, condition));
    } catch (error) {
      return { outcome: "unknown", reason: reasonOf(error) };
    }
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    try {
      return this.#remove(key);
    } catch {
      return "unknown";
    }
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    return this.#keys(prefix);
  }

  async close(): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }

  /**
   * Performs them in this order, each seeing what those before it wrote.
   *
   * @returns their answers, in the same order, once all that was written is durable. An error of the database makes
   *   every write among them `unknown`.
   */
  perform(operations: readonly Operation[]): readonly Answer[] {
    // Reads alone need not wait for other processes' writes.
    if (!operations.some(isWrite)) return operations.map((operation) => this.#perform(operation));
    try {
      return this.#transact(() => operations.map((operation) => this.#perform(operation)));
    } catch (error) {
      return operations.map((operation) => {
        if ("put" in operation) return { outcome: "unknown", reason: reasonOf(error) };
        // What a read saw may have been taken back, so it looks again.
        return "delete" in operation ? "unknown" : this.#perform(operation);
      });
    }
  }

  #perform(operation: Operation): Answer {
    if ("get" in operation) return this.#read(operation.get);
    if ("list" in operation) return this.#keys(operation.list);
    if ("delete" in operation) return this.#remove(operation.delete);
    return this.#write(operation.put, operation.body, operation.condition);
  }

  #read(key: string): StoredObject | undefined | Refusal {
    try {
      const row = this.#get.get(key) as Row | undefined;
      return row === undefined ? undefined : { body: row.body, etag: String(row.version) };
    } catch (error) {
      return unavailable(error);
    }
  }

  #keys(prefix: string): readonly string[] | Refusal {
    try {
      return this.#list.all(prefix).map((row) => (row as unknown as Row).key);
    } catch (error) {
      return unavailable(error);
    }
  }

  /** In a transaction: between looking and writing nobody else writes. */
  #write(key: string, body: Uint8Array, condition: PutCondition): PutOutcome {
    const found = this.#version.get(key) as Row | undefined;
    const holds =
      "ifMatch" in condition
        ? found !== undefined && String(found.version) === condition.ifMatch
        : found === undefined;
    if (!holds) return { outcome: "conflict" };
    const { version } = this.#count.get() as unknown as Row;
    this.#put.run(key, version, body);
    return { outcome: "done", etag: String(version) };
  }

  #remove(key: string): "done" {
    this.#delete.run(key);
    return "done";
  }

  /** IMMEDIATE: the write lock is taken before anything is read, so that no transaction fails half way. */
  #transact<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      // Without changes it writes nothing and waits for no disk.
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

function isWrite(operation: Operation): boolean {
  return "put" in operation || "delete" in operation;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}

function unavailable(error: unknown): Refusal {
  return refuse("store_unavailable", `the embedded store does not answer: ${reasonOf(error)}`);
}
