/**
 * The embedded store (`file:DIR`): one SQLite database in WAL mode with synchronous FULL.
 *
 * A put that is `done` has been fsynced. Several processes may use one directory at once: SQLite serialises
 * their writes, and conditions decide between them as they do on S3.
 */
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Refusal, refuse } from "../errors.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "./contract.ts";

/** How long a write waits for another process's write: theirs take milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

// The version comes from one counter for the whole database, so that no etag ever returns for any key.
const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
  INSERT OR IGNORE INTO counter VALUES (1, 0);
`;

interface Row {
  readonly key: string;
  readonly version: number;
  readonly body: Uint8Array;
}

const FILE = "store.sqlite";

export function isSqliteStore(directory: string): boolean {
  return existsSync(join(directory, FILE));
}

/** Throws where the directory cannot be made or holds no database of ours: a start-up error, told by the CLI. */
export function sqliteStore(directory: string): Store {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // SQLite would make it readable to all; its journals take the mode of the database.
  closeSync(openSync(join(directory, FILE), "a", 0o600));
  const database = new DatabaseSync(join(directory, FILE), { timeout: BUSY_TIMEOUT_MS });
  database.exec(SCHEMA);
  return new SqliteStore(database);
}

class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #create: StatementSync;
  readonly #update: StatementSync;
  readonly #count: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#get = database.prepare("SELECT version, body FROM objects WHERE key = ?");
    this.#count = database.prepare("UPDATE counter SET version = version + 1 RETURNING version");
    this.#create = database.prepare("INSERT OR IGNORE INTO objects (version, body, key) VALUES (?, ?, ?)");
    this.#update = database.prepare("UPDATE objects SET version = ?, body = ? WHERE key = ? AND version = ?");
    this.#delete = database.prepare("DELETE FROM objects WHERE key = ?");
    this.#list = database.prepare("SELECT key FROM objects WHERE substr(key, 1, length(?1)) = ?1");
  }

  async get(key: string): Promise<StoredObject | undefined | Refusal> {
    try {
      const row = this.#get.get(key) as Row | undefined;
      return row === undefined ? undefined : { body: row.body, etag: String(row.version) };
    } catch (error) {
      return unavailable(error);
    }
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    try {
      return this.#transact(() => {
        const { version } = this.#count.get() as { version: number };
        const { changes } =
          "ifMatch" in condition
            ? this.#update.run(version, body, key, Number(condition.ifMatch))
            : this.#create.run(version, body, key);
        return changes === 1 ? { outcome: "done", etag: String(version) } : { outcome: "conflict" };
      });
    } catch (error) {
      return { outcome: "unknown", reason: reasonOf(error) };
    }
  }

  async delete(key: string): Promise<"done" | "unknown"> {
    try {
      this.#delete.run(key);
      return "done";
    } catch {
      return "unknown";
    }
  }

  async list(prefix: string): Promise<readonly string[] | Refusal> {
    try {
      return this.#list.all(prefix).map((row) => (row as unknown as Row).key);
    } catch (error) {
      return unavailable(error);
    }
  }

  async close(): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }

  /** IMMEDIATE: the write lock is taken before anything is read, so that no transaction fails half way. */
  #transact(work: () => PutOutcome): PutOutcome {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec(result.outcome === "done" ? "COMMIT" : "ROLLBACK");
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}

function unavailable(error: unknown): Refusal {
  return refuse("store_unavailable", `the embedded store does not answer: ${reasonOf(error)}`);
}
