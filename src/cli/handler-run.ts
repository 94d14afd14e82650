/** `postern handler run`: one turn of a module, from a JSON file, in a process that is thrown away after. */
import { readFileSync } from "node:fs";
import { toHex } from "../bytes.ts";
import type { SendRequest } from "../dispatch/outcome.ts";
import type { Turn } from "../dispatch/sandbox.ts";
import { isRefusal } from "../errors.ts";
import { type CapabilityNote, capOf } from "../handles.ts";
import { isJsonArray, isJsonObject, type Json, type JsonObject, parseJson } from "../json.ts";
import { type Environment, type Outcome, printable, UsageProblem, type Values } from "./command.ts";
import { printProblems, readModuleFile } from "./handler-check.ts";
import { messageOf } from "./inputs.ts";
import { type Ran, runInChild } from "./throwaway.ts";

export async function runOneTurn(
  environment: Environment,
  _values: Values,
  [file, turnFile, ...others]: readonly string[],
): Promise<Outcome> {
  if (file === undefined || turnFile === undefined || others.length > 0)
    return new UsageProblem("run needs a module and a file with a turn");
  const original = readModuleFile(file);
  if (original instanceof UsageProblem) return original;
  const turn = await readTurn(environment, turnFile);
  if (turn instanceof UsageProblem) return turn;
  const ran = await runInChild(original, turn);
  if ("ok" in ran)
    return {
      json: { ok: false, problems: ran.problems },
      text: printProblems(file, ran.problems).join("\n"),
      failed: true,
    };
  return report(ran);
}

function report(ran: Ran): Outcome {
  if (ran.kind === "refused") {
    const { code, detail, facts, time_us } = ran;
    const error = { code, detail, ...facts };
    return {
      json: { error, time_us },
      text: `${facts.handler_code ?? code}: ${printable(detail)}`,
      failed: true,
    };
  }
  const { result, time_us } = ran;
  const { reply, state, become, sends, fuel, memory_bytes } = result;
  const changed = {
    ...(state !== undefined && { state: JSON.parse(state) as Json }),
    ...(become && { become }),
    ...(sends && { sends: sends.map(shownSend) }),
  };
  const lines = [
    JSON.stringify(reply),
    ...Object.entries(changed).map(([name, value]) => `${name}  ${JSON.stringify(value)}`),
    `${fuel} fuel, ${memory_bytes} bytes of memory, ${time_us} µs`,
  ];
  return { json: { reply, ...changed, fuel, memory_bytes, time_us }, text: lines.join("\n") };
}

/** As the handler wrote it. */
function shownSend({ to, actor, message, args }: SendRequest): Json {
  return { to: capOf(to), ...(actor !== undefined && { actor }), message, args };
}

/** What the file leaves out is as for an actor that was never called. `-` is standard input. */
async function readTurn(environment: Environment, file: string): Promise<Turn | UsageProblem> {
  let text: string;
  try {
    text = file === "-" ? await environment.stdin() : readFileSync(file, "utf8");
  } catch (error) {
    return new UsageProblem(`${file} cannot be read: ${messageOf(error)}`);
  }
  const parsed = parseJson(new TextEncoder().encode(text));
  if (isRefusal(parsed)) return new UsageProblem(`${file}: ${parsed.detail}`);
  if (!isJsonObject(parsed.value)) return new UsageProblem(`${file} holds no JSON object`);
  return parseTurn(environment, file, parsed.value);
}

function parseTurn(environment: Environment, file: string, document: JsonObject): Turn | UsageProblem {
  const { state = null, message, args = {}, now, seed, actor = "actor/1", caps = [], ...unknown } = document;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) return new UsageProblem(`${file}: a turn has no ${JSON.stringify(stranger)}`);
  if (typeof message !== "string") return new UsageProblem(`${file}: the turn's message must be text`);
  if (typeof actor !== "string") return new UsageProblem(`${file}: the turn's actor must be text, type/id`);
  const notes = isJsonArray(caps) ? caps.map(readNote) : [undefined];
  if (!notes.every((note) => note !== undefined))
    return new UsageProblem(`${file}: the turn's caps must be a list of {id, actor, messages?, expires?}`);
  if (now !== undefined && (typeof now !== "number" || !Number.isSafeInteger(now)))
    return new UsageProblem(`${file}: the turn's now must be milliseconds, a whole number`);
  if (seed !== undefined && (typeof seed !== "string" || !/^[0-9a-f]{32}$/.test(seed)))
    return new UsageProblem(`${file}: the turn's seed must be 32 hex digits`);
  return {
    state: state === null ? undefined : JSON.stringify(state),
    message,
    args,
    now_ms: now ?? environment.now_ms(),
    seed: seed ?? toHex(environment.random(16)),
    actor,
    caps: notes,
  };
}

function readNote(note: Json): CapabilityNote | undefined {
  if (!isJsonObject(note)) return undefined;
  const { id, actor, messages, expires, ...unknown } = note;
  if (Object.keys(unknown).length > 0 || typeof id !== "number" || typeof actor !== "string")
    return undefined;
  const names = isJsonArray(messages) ? messages.filter((name) => typeof name === "string") : [];
  if (messages !== undefined && !(isJsonArray(messages) && names.length === messages.length))
    return undefined;
  if (expires !== undefined && typeof expires !== "number") return undefined;
  return {
    id,
    actor,
    ...(messages !== undefined && { messages: names }),
    ...(expires !== undefined && { expires }),
  };
}
