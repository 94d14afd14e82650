/** `postern cluster`: nodes, shards and who leads them, read from the store alone; no node is asked, no key is needed. */
import { type Survey, survey } from "../cluster/survey.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { tableFor, wholeTable } from "./cluster-table.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  flag,
  type Outcome,
  printable,
  UsageProblem,
} from "./command.ts";
import { openBareStore } from "./inputs.ts";

const WATCH_MS = 1_000;

/** The terminal's other screen without a cursor, and back: what was there before is there again. */
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

export const cluster: Command = {
  name: "cluster",
  summary: "show nodes, shards, leaders and log positions",
  usage: "[--store URL] [--watch]",
  options: { store: { type: "string" }, watch: { type: "boolean" } },
  help: {
    store: `the store of the cluster (default ${DEFAULT_STORE})`,
    watch: "show it anew every second, until Ctrl-C; with --json one document a line",
  },
  async run(environment, values) {
    const store = openBareStore(environment, values);
    if (store instanceof UsageProblem) return store;
    try {
      const look = () => survey(store, environment.now_ms());
      const first = await look();
      if (isRefusal(first)) return first;
      if (!flag(values, "watch")) return { json: first, text: wholeTable(first) };
      return await watch(environment, look, first, flag(values, "json"));
    } finally {
      await store.close();
    }
  },
};

type Look = () => Promise<Survey | Refusal>;

/** A store that does not answer for a while does not end it: what was seen last stays. */
async function watch(environment: Environment, look: Look, first: Survey, json: boolean): Promise<Outcome> {
  const stopped = environment.interrupted().then(() => "stopped" as const);
  const isScreen = !json && environment.rows !== undefined;
  let seen = first;
  let seen_ms = environment.now_ms();
  let found: Survey | Refusal = first;
  if (isScreen) environment.write(ENTER);
  try {
    for (;;) {
      if (isScreen) environment.write(screenOf(environment, seen, found, environment.now_ms() - seen_ms));
      else environment.write(`${json ? documentOf(found) : textOf(found)}\n`);
      if ((await Promise.race([stopped, environment.pause(WATCH_MS)])) === "stopped") break;
      const next = await Promise.race([stopped, look()]);
      if (next === "stopped") break;
      found = next;
      if (isRefusal(found)) continue;
      seen = found;
      seen_ms = environment.now_ms();
    }
  } finally {
    if (isScreen) environment.write(LEAVE);
  }
  return { json: seen, text: wholeTable(seen), printed: !isScreen };
}

function documentOf(found: Survey | Refusal): string {
  if (!isRefusal(found)) return JSON.stringify(found);
  const { code, detail } = found;
  return JSON.stringify({ error: { code, detail } });
}

function textOf(found: Survey | Refusal): string {
  return isRefusal(found) ? `${complaintOf(found)}\n` : `${wholeTable(found)}\n`;
}

function complaintOf({ code, detail }: Refusal): string {
  return printable(`${code}: ${detail}`);
}

/** Written over what was there line by line, which does not flicker. */
function screenOf(environment: Environment, seen: Survey, found: Survey | Refusal, age_ms: number): string {
  const { columns } = environment;
  const age = `shown is what was seen ${Math.round(age_ms / 1000)} s ago`;
  const above = isRefusal(found) ? [`${age}; ${complaintOf(found)}`.slice(0, columns), ""] : [];
  // The last row stays free: a line feed behind it would move everything up.
  const rows = Math.max(1, (environment.rows ?? 0) - 1 - above.length);
  const lines = [...above, ...tableFor(seen, { rows, columns })];
  return `${HOME}${lines.map((line) => `${line}${CLEAR_LINE}\n`).join("")}${CLEAR_BELOW}`;
}
