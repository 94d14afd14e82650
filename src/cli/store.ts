/** `postern store`: whether a store is whole, and copies of it: backups, and moves between directory and bucket. */
import { isRefusal } from "../errors.ts";
import { checkStore } from "../store-check.ts";
import { copyStore } from "../store-copy.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  type Outcome,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { openStore } from "./inputs.ts";
import { megabytes, progressBar } from "./progress.ts";

export const store: Command = {
  name: "store",
  summary: "check a store, or copy it into another",
  usage: "check [--store URL] | copy FROM TO",
  positionals: 3,
  options: { store: { type: "string" } },
  help: { store: `the store to check (default ${DEFAULT_STORE})` },
  async run(environment, values, [verb, from, to]) {
    if (verb === "check" && from === undefined)
      return check(environment, text(values, "store") ?? DEFAULT_STORE);
    if (verb === "copy" && from !== undefined && to !== undefined) return copy(environment, from, to);
    return new UsageProblem(
      "give `check`, or `copy FROM TO`; a store is file:DIRECTORY or s3://BUCKET/PREFIX",
    );
  },
};

async function check(environment: Environment, url: string): Promise<Outcome> {
  const opened = await openStore(environment, at(url), "read");
  if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
  try {
    const report = await checkStore(opened.store, opened.master, progressBar(environment, "checking"));
    if (isRefusal(report)) return report;
    const { objects, bytes, problems } = report;
    const lines = problems.map(({ key, detail }) => `${key}: ${detail}`);
    return {
      json: { ok: problems.length === 0, objects, bytes, problems },
      text: [...lines, `${objects} objects, ${megabytes(bytes)}: ${counted(problems.length)}`].join("\n"),
      failed: problems.length > 0,
    };
  } finally {
    await opened.store.close();
  }
}

/** A copy is sealed with the source's master key: a new directory gets that key, any other must have it. */
async function copy(environment: Environment, from: string, to: string): Promise<Outcome> {
  const source = await openStore(environment, at(from), "read");
  if (source instanceof UsageProblem || isRefusal(source)) return source;
  const target = await openStore(environment, at(to), "publish", source.master);
  try {
    if (target instanceof UsageProblem || isRefusal(target)) return target;
    const report = await copyStore(source.store, target.store, progressBar(environment, "copying"));
    if (isRefusal(report)) return report;
    const checked = await checkStore(target.store, source.master, progressBar(environment, "checking"));
    if (isRefusal(checked)) return checked;
    const { problems } = checked;
    const ok = problems.length === 0;
    const lines = problems.map(({ key, detail }) => `${key}: ${detail}`);
    const summary = `${report.copied} objects copied, ${report.there} were there; the copy has ${counted(problems.length)}`;
    return { json: { ok, ...report, problems }, text: [...lines, summary].join("\n"), failed: !ok };
  } finally {
    await source.store.close();
    if (!(target instanceof UsageProblem || isRefusal(target))) await target.store.close();
  }
}

function counted(problems: number): string {
  if (problems === 0) return "no problems";
  return problems === 1 ? "1 problem" : `${problems} problems`;
}

const at = (url: string): Values => ({ store: url });
