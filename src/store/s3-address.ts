/**
 * `s3://bucket/prefix?endpoint=…&region=…&style=…`: which bucket, parsed strictly.
 *
 * An address is printed and logged, so it can hold no credential: user names, passwords and parameters that are not
 * known are refused, and what is refused is not repeated.
 */

export interface S3Address {
  /** `https://host:port` and the path before every key; ends with `/`. */
  readonly base: string;
  /** Before each of our keys: empty, or ends with `/`. */
  readonly prefix: string;
  readonly region: string;
  /** Whether AWS's own endpoint counts, because none was named. */
  readonly isAws: boolean;
}

/** What counts where the address does not say it. */
export interface S3Defaults {
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
}

/** Servers behind an endpoint of their own mostly have one region, by this name, or do not care. */
const REGION_OF_ENDPOINTS = "us-east-1";

const SHAPE = /^s3:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Safe in a URL as it stands, and never `.` or `..`, which every URL parser would take away. */
export const PREFIX = /^(?:[A-Za-z0-9_][A-Za-z0-9._=@-]*(?:\/(?!$)|$))*$/;
const REGION = /^[a-z0-9-]{1,64}$/;
const PARAMETERS: ReadonlySet<string> = new Set(["endpoint", "region", "style"]);

/** @returns what is wrong with the address, as a sentence without its end, where it cannot be understood. */
export function parseS3Address(url: string, defaults: S3Defaults): S3Address | string {
  const [, bucket = "", rest = "", query = ""] = SHAPE.exec(url) ?? [];
  if (!BUCKET.test(bucket)) return "an S3 store is s3://BUCKET/PREFIX, with the bucket's name in lower case";
  const prefix = rest.replace(/\/$/, "");
  if (!PREFIX.test(prefix))
    return "the prefix of an S3 store is names of A-Z a-z 0-9 . _ = @ - with / between";
  const parameters = new URLSearchParams(query);
  const names = [...parameters.keys()];
  if (names.some((name) => !PARAMETERS.has(name)) || new Set(names).size < names.length)
    return `the parameters of an S3 store are ${[...PARAMETERS].join(", ")}, each once`;

  const endpoint = parameters.get("endpoint") ?? defaults.endpoint;
  const region =
    parameters.get("region") ?? defaults.region ?? (endpoint === undefined ? "" : REGION_OF_ENDPOINTS);
  if (region === "") return "an S3 store needs an endpoint or a region: ?region=… or AWS_REGION";
  if (!REGION.test(region)) return "the region of an S3 store is a name such as eu-central-1";
  const style = parameters.get("style") ?? (endpoint === undefined ? "virtual" : "path");
  if (style !== "path" && style !== "virtual") return "the style of an S3 store is path or virtual";
  const base = baseOf(bucket, endpoint ?? `https://s3.${region}.amazonaws.com`, style);
  if (base === undefined)
    return "the endpoint of an S3 store is http://HOST or https://HOST, without user, password and parameters";
  return { base, prefix: prefix === "" ? "" : `${prefix}/`, region, isAws: endpoint === undefined };
}

function baseOf(bucket: string, endpoint: string, style: "path" | "virtual"): string | undefined {
  if (!URL.canParse(endpoint)) return undefined;
  const { protocol, host, pathname, username, password, search, hash } = new URL(endpoint);
  if (!/^https?:$/.test(protocol) || `${username}${password}${search}${hash}` !== "") return undefined;
  const path = pathname.endsWith("/") ? pathname : `${pathname}/`;
  // A wildcard certificate covers one label, so a bucket with dots is named in the path.
  return style === "virtual" && !bucket.includes(".")
    ? `${protocol}//${bucket}.${host}${path}`
    : `${protocol}//${host}${path}${bucket}/`;
}
