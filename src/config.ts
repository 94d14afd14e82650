/**
 * Policies: from YAML to one frozen document for each tenant.
 *
 * One strict parser serves `apply`, `serve` and `--check`. An unknown key, a wrong type, a protocol or a schema
 * that does not compile is an error with its file, line and column; all errors of a folder are reported at once.
 */
import { type Document, LineCounter, parseDocument } from "yaml";
import { isRefusal } from "./errors.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";
import { HANDLER_NAME, MESSAGE_NAME, TENANT_NAME, TYPE_NAME } from "./names.ts";
import { compileProtocol } from "./protocol/automaton.ts";
import { compileSchema } from "./protocol/schema.ts";

export interface MessagePolicy {
  /** JSON Schemas. */
  readonly args: Json;
  readonly result: Json;
  /** May not change the state; enforced. */
  readonly reads: boolean;
}

export interface ActorPolicy {
  readonly actor: string;
  /** The handler's name; the published document names its bytes by hash. */
  readonly handler: { readonly wasm: string };
  readonly messages: Readonly<Record<string, MessagePolicy>>;
  /** What `mint` gives unless told less. */
  readonly protocol: string;
  /** What the actor as a whole is prepared for. */
  readonly behaviour: string;
}

export interface TenantPolicy {
  readonly tenant: string;
  /** Whether tokens must be bound to a key. */
  readonly holder: "required" | "optional";
  readonly actors: Readonly<Record<string, ActorPolicy>>;
}

export interface PolicyProblem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  readonly detail: string;
}

const NO_ARGUMENTS: Json = { type: "object", additionalProperties: false };

/** @param files the tenant's YAML texts by file name; `tenant.yaml` must be one of them */
export function parsePolicies(
  folder: string,
  files: ReadonlyMap<string, string>,
): TenantPolicy | PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const readers = [...files].map(([name, text]) => new FileReader(`${folder}/${name}`, name, text, problems));
  const tenantReader = readers.find(({ name }) => name === "tenant.yaml");
  if (tenantReader === undefined)
    return [{ file: `${folder}/tenant.yaml`, line: 1, column: 1, detail: "the tenant has no tenant.yaml" }];

  const tenant = readTenant(tenantReader, folder.split("/").at(-1) ?? "");
  const actors: Record<string, ActorPolicy> = {};
  for (const reader of readers) {
    if (reader !== tenantReader) actors[reader.name.replace(/\.ya?ml$/, "")] = readActor(reader);
  }
  return problems.length > 0 ? problems : deepFreeze({ ...tenant, actors });
}

function readTenant(reader: FileReader, folderName: string): Omit<TenantPolicy, "actors"> {
  const root = reader.object([], ["tenant", "holder"], ["tenant"]);
  const tenant = reader.text(root, ["tenant"], TENANT_NAME);
  if (tenant !== folderName)
    reader.problem(["tenant"], `tenant must be ${folderName}, as its folder is named`);
  const holder = root["holder"] ?? "required";
  if (holder !== "required" && holder !== "optional")
    reader.problem(["holder"], "holder must be required or optional");
  return { tenant, holder: holder === "optional" ? "optional" : "required" };
}

function readActor(reader: FileReader): ActorPolicy {
  const keys = ["actor", "handler", "messages", "protocol", "behaviour"];
  const root = reader.object([], keys, keys);
  const actor = reader.text(root, ["actor"], TYPE_NAME);
  if (`${actor}.yaml` !== reader.name)
    reader.problem(["actor"], `actor must be the file's name without .yaml`);
  const handler = reader.object(["handler"], ["wasm"], ["wasm"]);
  const wasm = reader.text(handler, ["handler", "wasm"], HANDLER_NAME);
  const messages: Record<string, MessagePolicy> = {};
  for (const name of Object.keys(reader.object(["messages"]))) messages[name] = readMessage(reader, name);
  const protocol = readProtocol(reader, root, "protocol", messages);
  const behaviour = readProtocol(reader, root, "behaviour", messages);
  return { actor, handler: { wasm }, messages, protocol, behaviour };
}

function readMessage(reader: FileReader, name: string): MessagePolicy {
  const at = ["messages", name];
  if (!MESSAGE_NAME.test(name) || name === "end")
    reader.problem(at, `${JSON.stringify(name)} is not a message name`);
  const message = reader.object(at, ["args", "result", "reads"]);
  const args = message["args"] ?? NO_ARGUMENTS;
  const result = message["result"] ?? true;
  for (const [key, schema] of Object.entries({ args, result })) {
    const compiled = compileSchema(schema);
    if (typeof compiled === "string") reader.problem([...at, key], `the schema is not usable: ${compiled}`);
  }
  const reads = message["reads"] ?? false;
  if (typeof reads !== "boolean") reader.problem([...at, "reads"], "reads must be true or false");
  return { args, result, reads: reads === true };
}

function readProtocol(reader: FileReader, root: JsonObject, key: string, messages: object): string {
  const text = reader.text(root, [key]);
  if (typeof root[key] !== "string") return text; // Missing or no text: that was told.
  const automaton = compileProtocol(text);
  if (isRefusal(automaton)) {
    reader.problem([key], automaton.detail);
    return text;
  }
  const unknown = automaton.alphabet.find((name) => !Object.hasOwn(messages, name));
  if (unknown !== undefined)
    reader.problem([key], `${key} names ${unknown}, which is no message of this actor`);
  return text;
}

/** One YAML file: typed access to its values, problems with their place. */
class FileReader {
  readonly name: string;
  readonly #file: string;
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();
  readonly #problems: PolicyProblem[];
  readonly #root: Json;
  #unreadable = false;

  constructor(file: string, name: string, text: string, problems: PolicyProblem[]) {
    this.name = name;
    this.#file = file;
    this.#problems = problems;
    this.#document = parseDocument(text, { lineCounter: this.#lines, strict: true, uniqueKeys: true });
    for (const error of [...this.#document.errors, ...this.#document.warnings])
      this.#report(error.pos[0], error.message.split("\n")[0] ?? "");
    this.#unreadable = this.#document.errors.length > 0;
    this.#root = this.#unreadable ? {} : this.#toJson();
  }

  #toJson(): Json {
    try {
      // Aliases are welcome; a hundred expansions are not a policy, but a bomb.
      return this.#document.toJS({ maxAliasCount: 100 }) as Json;
    } catch (error) {
      this.#report(0, error instanceof Error ? error.message : "the document cannot be read");
      this.#unreadable = true;
      return {};
    }
  }

  /** The mapping at a path; only `allowed` keys may stand in it, all `required` ones must. */
  object(path: readonly string[], allowed?: readonly string[], required: readonly string[] = []): JsonObject {
    let value: Json | undefined = this.#root;
    for (const key of path) value = isJsonObject(value) ? value[key] : undefined;
    if (!isJsonObject(value)) {
      this.problem(path, `${path.at(-1) ?? "the file"} must be a mapping`);
      if (path.length === 0) this.#unreadable = true;
      return {};
    }
    for (const key of Object.keys(value)) {
      if (allowed !== undefined && !allowed.includes(key))
        this.problem([...path, key], `unknown key ${JSON.stringify(key)}; known here: ${allowed.join(", ")}`);
    }
    for (const key of required) {
      if (!Object.hasOwn(value, key)) this.problem(path, `${key} is missing`);
    }
    return value;
  }

  text(parent: JsonObject, path: readonly string[], shape?: RegExp): string {
    const key = path.at(-1) ?? "";
    const value = parent[key];
    if (typeof value === "string" && (shape === undefined || shape.test(value))) return value;
    if (value !== undefined)
      this.problem(path, `${key} must be text${shape === undefined ? "" : ` of the form ${shape.source}`}`);
    return "";
  }

  problem(path: readonly string[], detail: string): void {
    // Where the file cannot be read, every later complaint is noise.
    if (this.#unreadable) return;
    this.#report(this.#offsetOf(path), detail);
  }

  /** Where the value at a path stands, or the nearest one around it: behind an alias nothing has a place here. */
  #offsetOf(path: readonly string[]): number {
    const node = path.length === 0 ? this.#document.contents : this.#document.getIn(path, true);
    const range = (node as { range?: readonly number[] } | undefined)?.range;
    if (range?.[0] !== undefined) return range[0];
    return path.length === 0 ? 0 : this.#offsetOf(path.slice(0, -1));
  }

  #report(offset: number, detail: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#problems.push({ file: this.#file, line: Math.max(1, line), column: Math.max(1, col), detail });
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
