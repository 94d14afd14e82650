/** The options of `serve` that say how a node listens and how it stands among others, each checked before anything starts. */
import { parseRange, type Range } from "../ip.ts";
import {
  COMMIT_WINDOW,
  COMMIT_WINDOW_MAX,
  LEASE_TTL_MS,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
  SHARDS_DEFAULT,
  SHARDS_MAX,
  TURN_THREADS_MAX,
} from "../limits.ts";
import type { ServerOptions } from "../server/options.ts";
import { text, texts, UsageProblem, type Values } from "./command.ts";
import { parseDuration } from "./duration.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = "8787";

export const NODE_OPTIONS = {
  host: { type: "string" },
  port: { type: "string" },
  authority: { type: "string", multiple: true },
  "trusted-proxy": { type: "string", multiple: true },
  advertise: { type: "string" },
  lease: { type: "string" },
  window: { type: "string" },
  shards: { type: "string" },
  "turn-threads": { type: "string" },
} as const;

export const NODE_HELP = {
  host: `address to listen on (default ${DEFAULT_HOST})`,
  port: `port to listen on, 0 for any (default ${DEFAULT_PORT})`,
  authority: "a host under which callers address this node, beside loopback; may be repeated",
  "trusted-proxy":
    "address/bits of proxies whose X-Forwarded-For and Forwarded are believed; may be repeated",
  advertise: "URL under which other nodes reach this one (default: where it listens)",
  lease: `how long the node may be silent before others take over (default ${LEASE_TTL_MS / 1000}s)`,
  window: `group commits of a shard in flight at once, 1 to ${COMMIT_WINDOW_MAX} (default ${COMMIT_WINDOW})`,
  shards: `shards of a new store, 1 to ${SHARDS_MAX} (default ${SHARDS_DEFAULT}); a store keeps its number`,
  "turn-threads": `threads that run handlers, 1 to ${TURN_THREADS_MAX} (default: one for each core but one, at least 2)`,
};

export type NodeOptions = Omit<ServerOptions, "store" | "master" | "write">;

export function readNodeOptions(values: Values): NodeOptions | UsageProblem {
  const port = text(values, "port") ?? DEFAULT_PORT;
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
    return new UsageProblem(`--port ${port} is not a port`);
  const authorities = texts(values, "authority");
  const misspelt = authorities.find((name) => URL.parse(`http://${name}`)?.host !== name);
  if (misspelt !== undefined)
    return new UsageProblem(
      `--authority ${misspelt} must be a host in lower case, with its port where it has one`,
    );
  const trustedProxies = readProxies(texts(values, "trusted-proxy"));
  if (trustedProxies instanceof UsageProblem) return trustedProxies;
  const advertise = text(values, "advertise");
  if (advertise !== undefined && !/^https?:$/.test(URL.parse(advertise)?.protocol ?? ""))
    return new UsageProblem(`--advertise ${advertise} is no http or https URL`);
  const lease = text(values, "lease");
  const leaseTtl_ms = lease === undefined ? LEASE_TTL_MS : (parseDuration(lease) ?? 0);
  if (leaseTtl_ms < LEASE_TTL_MS_MIN || leaseTtl_ms > LEASE_TTL_MS_MAX)
    return new UsageProblem(
      `--lease ${lease} must be a duration from ${LEASE_TTL_MS_MIN}ms to ${LEASE_TTL_MS_MAX / 1000}s`,
    );
  const window = wholeNumber(values, "window", COMMIT_WINDOW, COMMIT_WINDOW_MAX);
  if (window instanceof UsageProblem) return window;
  const turnThreads = wholeNumber(values, "turn-threads", undefined, TURN_THREADS_MAX);
  if (turnThreads instanceof UsageProblem) return turnThreads;
  const shards = wholeNumber(values, "shards", SHARDS_DEFAULT, SHARDS_MAX);
  if (shards instanceof UsageProblem) return shards;
  const host = text(values, "host") ?? DEFAULT_HOST;
  return {
    host,
    port: Number(port),
    authorities,
    trustedProxies,
    leaseTtl_ms,
    window,
    shards,
    ...(turnThreads !== undefined && { turnThreads }),
    ...(advertise !== undefined && { advertise }),
  };
}

function readProxies(given: readonly string[]): readonly Range[] | UsageProblem {
  const ranges: Range[] = [];
  for (const proxy of given) {
    const range = parseRange(proxy);
    if (range === undefined)
      return new UsageProblem(`--trusted-proxy ${proxy} must be a range of addresses such as 10.0.0.0/8`);
    ranges.push(range);
  }
  return ranges;
}

function wholeNumber<U extends number | undefined>(
  values: Values,
  name: string,
  usual: U,
  most: number,
): number | U | UsageProblem {
  const given = text(values, name);
  if (given === undefined) return usual;
  const number = /^[1-9]\d{0,5}$/.test(given) ? Number(given) : 0;
  return number >= 1 && number <= most
    ? number
    : new UsageProblem(`--${name} ${given} must be a whole number from 1 to ${most}`);
}
