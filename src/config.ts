/**
 * Policies: from YAML to one frozen document for each tenant.
 *
 * One strict parser serves `apply`, `serve` and `--check`. An unknown key, a wrong type, a protocol or a schema
 * that does not compile is an error with its file, line and column; all errors of a folder are reported at once.
 */
import { isRefusal } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";
import { BEHAVIOURS_PER_ACTOR_MAX } from "./limits.ts";
import { BEHAVIOUR_NAME, HANDLER_NAME, MESSAGE_NAME, TENANT_NAME, TYPE_NAME } from "./names.ts";
import { PolicyFile, type PolicyProblem } from "./policy-file.ts";
import { type Automaton, compileProtocol } from "./protocol/automaton.ts";
import { findViolation, fresh } from "./protocol/inclusion.ts";
import { findEntrances, findWidening, type NamedBehaviour } from "./protocol/narrower.ts";
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
  /** The actor has no state, so its messages only read: a handler that returns a state is refused. */
  readonly state?: "none";
  /** What `mint` gives unless told less. */
  readonly protocol: string;
  /** What the actor as a whole is prepared for. */
  readonly behaviour: string;
  /** Narrower behaviours, by name, that the actor goes on under once its handler says so. */
  readonly become?: Readonly<Record<string, string>>;
}

export interface TenantPolicy {
  readonly tenant: string;
  /** Whether tokens must be bound to a key. */
  readonly holder: "required" | "optional";
  readonly actors: Readonly<Record<string, ActorPolicy>>;
}

const NO_ARGUMENTS: Json = { type: "object", additionalProperties: false };

/** @param files the tenant's YAML texts by file name; `tenant.yaml` must be one of them */
export function parsePolicies(
  folder: string,
  files: ReadonlyMap<string, string>,
): TenantPolicy | PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const readers = [...files].map(([name, text]) => new PolicyFile(`${folder}/${name}`, name, text, problems));
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

function readTenant(reader: PolicyFile, folderName: string): Omit<TenantPolicy, "actors"> {
  const root = reader.object([], ["tenant", "holder"], ["tenant"]);
  const tenant = reader.text(root, ["tenant"], TENANT_NAME);
  if (tenant !== folderName)
    reader.problem(["tenant"], `tenant must be ${folderName}, as its folder is named`);
  const holder = root["holder"] ?? "required";
  if (holder !== "required" && holder !== "optional")
    reader.problem(["holder"], "holder must be required or optional");
  return { tenant, holder: holder === "optional" ? "optional" : "required" };
}

function readActor(reader: PolicyFile): ActorPolicy {
  const required = ["actor", "handler", "messages", "protocol", "behaviour"];
  const root = reader.object([], [...required, "state", "become"], required);
  const actor = reader.text(root, ["actor"], TYPE_NAME);
  if (`${actor}.yaml` !== reader.name)
    reader.problem(["actor"], `actor must be the file's name without .yaml`);
  const handler = reader.object(["handler"], ["wasm"], ["wasm"]);
  const wasm = reader.text(handler, ["handler", "wasm"], HANDLER_NAME);
  const stateless = root["state"] === "none";
  if (root["state"] !== undefined && !stateless)
    reader.problem(["state"], "state must be none, or be left out for an actor that has one");
  const messages: Record<string, MessagePolicy> = {};
  for (const name of Object.keys(reader.object(["messages"])))
    messages[name] = readMessage(reader, name, stateless);
  const { behaviour: compiled, ...texts } = readProtocols(reader, root, messages);
  const become = root["become"] === undefined ? undefined : readBecome(reader, messages, compiled.automaton);
  if (become !== undefined && stateless)
    reader.problem(["become"], "an actor without state becomes nothing: its messages only read");
  return {
    actor,
    handler: { wasm },
    messages,
    protocol: texts.protocol,
    behaviour: compiled.text,
    ...(stateless && { state: "none" }),
    ...(become !== undefined && { become }),
  };
}

function readMessage(reader: PolicyFile, name: string, stateless: boolean): MessagePolicy {
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
  const reads = message["reads"] ?? stateless;
  if (typeof reads !== "boolean") reader.problem([...at, "reads"], "reads must be true or false");
  else if (stateless && !reads)
    reader.problem([...at, "reads"], "reads is true for every message of an actor without state");
  return { args, result, reads: reads === true };
}

interface Protocols {
  readonly protocol: string;
  readonly behaviour: ReadProtocol;
}

/** What mint gives by default must be something that the actor is prepared for, from its beginning. */
function readProtocols(reader: PolicyFile, root: JsonObject, messages: object): Protocols {
  const protocol = readProtocol(reader, root, ["protocol"], messages);
  const behaviour = readProtocol(reader, root, ["behaviour"], messages);
  if (protocol.automaton !== undefined && behaviour.automaton !== undefined)
    checkWithin(reader, protocol.automaton, behaviour.automaton);
  return { protocol: protocol.text, behaviour };
}

function checkWithin(reader: PolicyFile, protocol: Automaton, behaviour: Automaton): void {
  const found = findViolation([fresh(protocol)], [fresh(behaviour)]);
  if (found === undefined) return;
  if (isRefusal(found)) return reader.problem(["protocol"], found.detail);
  const word = found.word.map(({ message }) => message);
  const before = word.slice(0, -1).join(", ") || "nothing";
  const instead = found.enabled.join(", ") || "nothing";
  const detail = `after ${before}, protocol admits ${word.at(-1)}, but behaviour admits ${instead}`;
  reader.problem(["protocol"], detail, { word });
}

interface ReadProtocol {
  readonly text: string;
  /** Where the text compiles. */
  readonly automaton?: Automaton;
}

function readProtocol(
  reader: PolicyFile,
  parent: JsonObject,
  path: readonly string[],
  messages: object,
): ReadProtocol {
  const key = path.at(-1) ?? "";
  const text = reader.text(parent, path);
  if (typeof parent[key] !== "string") return { text }; // Missing or no text: that was told.
  const automaton = compileProtocol(text);
  if (isRefusal(automaton)) {
    reader.problem(path, automaton.detail, automaton.facts);
    return { text };
  }
  const unknown = automaton.alphabet.find((name) => !Object.hasOwn(messages, name));
  if (unknown === undefined) return { text, automaton };
  reader.problem(path, `${key} names ${unknown}, which is no message of this actor`);
  return { text };
}

/**
 * What the actor may become: at some point, and by some way there, each of them must be narrower than what is left of
 * the behaviour before it. Whether it is where a handler names it is for the gate to see.
 */
function readBecome(
  reader: PolicyFile,
  messages: object,
  behaviour: Automaton | undefined,
): Readonly<Record<string, string>> {
  const mapping = reader.object(["become"]);
  const texts: Record<string, string> = {};
  const named: NamedBehaviour[] = [];
  for (const name of Object.keys(mapping)) {
    if (!BEHAVIOUR_NAME.test(name) || name === "behaviour")
      reader.problem(["become", name], `${JSON.stringify(name)} is not a name for a behaviour`);
    const { text, automaton } = readProtocol(reader, mapping, ["become", name], messages);
    texts[name] = text;
    if (automaton !== undefined) named.push({ name, automaton });
  }
  if (Object.keys(texts).length > BEHAVIOURS_PER_ACTOR_MAX)
    reader.problem(["become"], `an actor may become at most ${BEHAVIOURS_PER_ACTOR_MAX} others`);
  else if (behaviour !== undefined)
    checkEntrances(reader, { name: "behaviour", automaton: behaviour }, named);
  return texts;
}

function checkEntrances(reader: PolicyFile, first: NamedBehaviour, named: readonly NamedBehaviour[]): void {
  const entrances = findEntrances(first, named);
  if (isRefusal(entrances)) return reader.problem(["become"], entrances.detail);
  for (const { name, automaton } of named) {
    if (entrances.has(name)) continue;
    const found = findWidening(automaton, fresh(first.automaton));
    if (found === undefined || isRefusal(found)) continue;
    const word = found.word.map(({ message }) => message);
    const before = word.slice(0, -1).join(", ") || "nothing";
    const instead = found.enabled.join(", ") || "nothing";
    reader.problem(
      ["become", name],
      `the actor can never become ${name}, which is narrower than behaviour at no point: at its start, after ${before} ` +
        `it admits ${word.at(-1)}, where behaviour admits ${instead}`,
      { word },
    );
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
