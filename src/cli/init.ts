/** `postern init`: a folder to begin with: a tenant, one actor type, and its handler's source in a language. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { TENANT_NAME } from "../names.ts";
import { LANGUAGES } from "./build/build.ts";
import { type Command, text, UsageProblem } from "./command.ts";
import { messageOf } from "./inputs.ts";

/** The handler in each language, its policy, and the helpers beside; they are the project's own files. */
const WASM = fileURLToPath(new URL("../../wasm", import.meta.url));

const DEFAULT_LANGUAGE = "typescript";
const DEFAULT_TENANT = "demo";
const HANDLER = "counter";

/** What each language needs of `wasm/lib`: its files by their extension. JavaScript needs nothing. */
const HELPERS: Readonly<Record<string, readonly string[]>> = {
  assemblyscript: ["handler.ts", "json.ts", "asconfig.json"],
  c: ["postern.h"],
  rust: ["postern.rs"],
};

export const init: Command = {
  name: "init",
  summary: "begin a tenant: a policy, and a handler's source in a language",
  usage: `[DIRECTORY] [--lang ${Object.keys(LANGUAGES).join("|")}] [--tenant NAME]`,
  positionals: 1,
  options: { lang: { type: "string" }, tenant: { type: "string" } },
  help: {
    lang: `the language of the handler (default ${DEFAULT_LANGUAGE})`,
    tenant: `the tenant's name (default ${DEFAULT_TENANT})`,
  },
  async run(_environment, values, [directory = "."]) {
    const language = text(values, "lang") ?? DEFAULT_LANGUAGE;
    const tenant = text(values, "tenant") ?? DEFAULT_TENANT;
    if (!Object.hasOwn(LANGUAGES, language))
      return new UsageProblem(`--lang is one of ${Object.keys(LANGUAGES).join(", ")}`);
    if (!TENANT_NAME.test(tenant))
      return new UsageProblem(`--tenant must be a name of the form ${TENANT_NAME.source}`);
    const policies = join(directory, "policies", tenant);
    const handler = join(directory, "wasm", HANDLER);
    for (const folder of [policies, handler])
      if (existsSync(folder)) return new UsageProblem(`${folder} is there already; nothing was written`);
    try {
      writeTenant(policies, tenant);
      cpSync(join(WASM, "templates", language), handler, { recursive: true });
      writeHelpers(join(directory, "wasm", "lib"), language);
    } catch (error) {
      return new UsageProblem(`${directory} cannot be written: ${messageOf(error)}`);
    }
    const source = readdirSync(handler).find((name) => extname(name) !== ".json") ?? "";
    const next = [
      `postern handler build ${handler}`,
      `postern serve --policies ${join(directory, "policies")}`,
    ];
    return {
      json: { tenant, language, policies, handler, next },
      text: [
        `${policies}, ${join(handler, source)}: written. What comes next:`,
        ...next.map((line) => `  ${line}`),
      ].join("\n"),
    };
  },
};

function writeTenant(folder: string, tenant: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(join(WASM, "templates", "policy"))) {
    const template = readFileSync(join(WASM, "templates", "policy", name), "utf8");
    writeFileSync(join(folder, name), template.replace("tenant: TENANT", `tenant: ${tenant}`));
  }
}

/** What is there stays: it may be the helpers of another handler, changed by its author. */
function writeHelpers(folder: string, language: string): void {
  const names = HELPERS[language] ?? [];
  if (names.length > 0) mkdirSync(folder, { recursive: true });
  for (const name of names) cpSync(join(WASM, "lib", name), join(folder, name), { force: false });
}
