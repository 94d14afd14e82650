/** Secrets, tokens and stores as the command line names them. */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fromHex, toHex } from "../bytes.ts";
import type { Refusal } from "../errors.ts";
import { Secret } from "../secret.ts";
import { holderSigner } from "../signature/holder.ts";
import type { Signer } from "../signature/scheme.ts";
import type { Store } from "../store/contract.ts";
import { probeStore } from "../store/probe.ts";
import { s3Store } from "../store/s3.ts";
import { isSqliteStore, sqliteStore } from "../store/sqlite.ts";
import { threadedSqliteStore } from "../store/threaded.ts";
import { MASTER_KEY_BYTES } from "../token/keyring.ts";
import { DEFAULT_STORE, type Environment, text, UsageProblem, type Values } from "./command.ts";
import { s3OptionsOf } from "./s3-inputs.ts";

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

/** A signer from the file that `postern keygen --out` writes. */
export async function readSigner(environment: Environment, path: string): Promise<Signer | UsageProblem> {
  const content = await readSecretText(environment, path);
  if (content instanceof UsageProblem) return content;
  const signer = holderSigner(content, (length) => environment.random(length));
  return signer ?? new UsageProblem(`${path} holds no secret key as \`postern keygen\` writes them`);
}

export interface OpenStore {
  readonly store: Store;
  readonly url: string;
  readonly master: Secret;
}

type Purpose = "read" | "change" | "publish" | "serve";

/**
 * `--store` with its master key: from the environment, or beside a `file:` store.
 *
 * @param purpose what only reads or changes a store must not make one, least of all under a mistyped name; whoever
 *   writes has the store probed first; a node gets an embedded store on a thread of its own
 * @param inherited the master key that a new `file:` store gets; a fresh one where none is given
 */
export async function openStore(
  environment: Environment,
  values: Values,
  purpose: Purpose,
  inherited?: Secret,
): Promise<OpenStore | UsageProblem | Refusal> {
  const url = text(values, "store") ?? DEFAULT_STORE;
  const opened = url.startsWith("s3:")
    ? openS3(environment, url)
    : await openFile(
        environment,
        url,
        purpose,
        inherited ?? new Secret(environment.random(MASTER_KEY_BYTES)),
      );
  if (opened instanceof UsageProblem || purpose === "read") return opened;
  const problem = await probeStore(opened.store, (length) => environment.random(length));
  if (problem === undefined) return opened;
  await opened.store.close();
  return problem;
}

/** `--store` without its master key: for whoever only looks at what is not sealed with it. */
export function openBareStore(environment: Environment, values: Values): Store | UsageProblem {
  const url = text(values, "store") ?? DEFAULT_STORE;
  if (url.startsWith("s3:")) {
    const options = s3OptionsOf(environment, url);
    return options instanceof UsageProblem ? options : s3Store(options);
  }
  const directory = directoryOf(url, true);
  if (directory instanceof UsageProblem) return directory;
  try {
    return sqliteStore(directory);
  } catch (error) {
    return unopened(url, error);
  }
}

function directoryOf(url: string, mustExist: boolean): string | UsageProblem {
  const directory = url.slice("file:".length);
  if (!url.startsWith("file:") || directory === "")
    return new UsageProblem(
      `--store ${url} is not understood; a store is file:DIRECTORY or s3://BUCKET/PREFIX`,
    );
  if (mustExist && !isSqliteStore(directory)) return new UsageProblem(`there is no store at ${url}`);
  return directory;
}

function unopened(url: string, error: unknown): UsageProblem {
  return new UsageProblem(`the store ${url} cannot be opened: ${messageOf(error)}`);
}

async function openFile(
  environment: Environment,
  url: string,
  purpose: Purpose,
  fresh: Secret,
): Promise<OpenStore | UsageProblem> {
  const directory = directoryOf(url, purpose === "read" || purpose === "change");
  if (directory instanceof UsageProblem) return directory;
  try {
    const master = givenMasterKey(environment) ?? masterKeyBeside(directory, fresh);
    if (master instanceof UsageProblem) return master;
    const store = purpose === "serve" ? await threadedSqliteStore(directory) : sqliteStore(directory);
    return { store, url, master };
  } catch (error) {
    return unopened(url, error);
  }
}

/** A bucket keeps no master key beside itself: whoever reads the one would have the other. */
function openS3(environment: Environment, url: string): OpenStore | UsageProblem {
  const options = s3OptionsOf(environment, url);
  if (options instanceof UsageProblem) return options;
  const master =
    givenMasterKey(environment) ??
    new UsageProblem(
      "POSTERN_MASTER_KEY is needed with an S3 store: 64 hex digits, the same for all who use the store",
    );
  if (master instanceof UsageProblem) return master;
  return { store: s3Store(options), url, master };
}

function givenMasterKey({ env }: Environment): Secret | UsageProblem | undefined {
  const given = env["POSTERN_MASTER_KEY"];
  return given === undefined ? undefined : parseMasterKey("POSTERN_MASTER_KEY", given);
}

function parseMasterKey(source: string, content: string): Secret | UsageProblem {
  const bytes = fromHex(content.trim());
  return bytes?.length === MASTER_KEY_BYTES
    ? new Secret(bytes)
    : new UsageProblem(`${source} must be 64 hex digits`);
}

/** Only a new store gets a new key: one that lost its key must not be given another that opens nothing. */
function masterKeyBeside(directory: string, fresh: Secret): Secret | UsageProblem {
  const path = join(directory, "master.key");
  if (!isSqliteStore(directory)) makeKey(directory, path, fresh);
  if (!existsSync(path)) return new UsageProblem(`the master key is needed: POSTERN_MASTER_KEY, or ${path}`);
  return parseMasterKey(path, readFileSync(path, "utf8"));
}

/** Creating it exclusively decides between two processes that start at once. */
function makeKey(directory: string, path: string, key: Secret): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    const file = openSync(path, "wx", 0o600);
    writeSync(file, `${toHex(key.expose())}\n`);
    closeSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
