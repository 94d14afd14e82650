/** Secrets, tokens and stores as the command line names them. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fromHex, toHex } from "../bytes.ts";
import { Secret } from "../secret.ts";
import { holderKey } from "../signature/bip340.ts";
import type { Store } from "../store/contract.ts";
import { isSqliteStore, sqliteStore } from "../store/sqlite.ts";
import { threadedSqliteStore } from "../store/threaded.ts";
import { MASTER_KEY_BYTES } from "../token/keyring.ts";
import { type Environment, text, UsageProblem, type Values } from "./command.ts";

export const DEFAULT_STORE = "file:.postern";

/** A file's text, or standard input for `-` or nothing. Trailing white space is dropped. */
export async function readSecretText(
  environment: Environment,
  path: string | undefined,
): Promise<string | UsageProblem> {
  try {
    const content =
      path === undefined || path === "-" ? await environment.stdin() : readFileSync(path, "utf8");
    return content.trim();
  } catch (error) {
    return new UsageProblem(`${path} cannot be read: ${messageOf(error)}`);
  }
}

export async function readHolderKey(environment: Environment, path: string): Promise<Secret | UsageProblem> {
  const content = await readSecretText(environment, path);
  if (content instanceof UsageProblem) return content;
  const key = holderKey(fromHex(content) ?? new Uint8Array());
  return (
    key ?? new UsageProblem(`${path} holds no secret key: 64 hex digits, as \`postern keygen\` writes them`)
  );
}

export interface OpenStore {
  readonly store: Store;
  readonly url: string;
  readonly master: Secret;
}

/**
 * `--store` with its master key: from the environment, or beside a `file:` store.
 *
 * @param purpose what only reads a store must not make one, least of all under a mistyped name; a node gets a
 *   store on a thread of its own
 */
export async function openStore(
  environment: Environment,
  values: Values,
  purpose: "read" | "publish" | "serve",
): Promise<OpenStore | UsageProblem> {
  const url = text(values, "store") ?? DEFAULT_STORE;
  if (!url.startsWith("file:") || url.length === "file:".length)
    return new UsageProblem(`--store ${url} is not understood; this version takes file:DIRECTORY`);
  const directory = url.slice("file:".length);
  if (purpose === "read" && !isSqliteStore(directory)) return new UsageProblem(`there is no store at ${url}`);
  let store: Store;
  try {
    store = purpose === "serve" ? await threadedSqliteStore(directory) : sqliteStore(directory);
  } catch (error) {
    return new UsageProblem(`the store ${url} cannot be opened: ${messageOf(error)}`);
  }
  const master = readMasterKey(environment, directory);
  return master instanceof UsageProblem ? master : { store, url, master };
}

function readMasterKey(environment: Environment, directory: string): Secret | UsageProblem {
  const given = environment.env["POSTERN_MASTER_KEY"];
  const path = join(directory, "master.key");
  const content = given ?? readOrMakeKey(path, environment.random(MASTER_KEY_BYTES));
  const bytes = fromHex(content.trim());
  if (bytes?.length === MASTER_KEY_BYTES) return new Secret(bytes);
  return new UsageProblem(`${given === undefined ? path : "POSTERN_MASTER_KEY"} must be 64 hex digits`);
}

/** Creating it exclusively decides between two processes that start at once. */
function readOrMakeKey(path: string, fresh: Uint8Array): string {
  try {
    const file = openSync(path, "wx", 0o600);
    writeSync(file, `${toHex(fresh)}\n`);
    closeSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return readFileSync(path, "utf8");
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
