/** A bucket as the command line and the environment name it: its address, and where its credentials come from. */
import { readFile } from "node:fs/promises";
import { fetch } from "undici";
import { toHex, utf8 } from "../bytes.ts";
import { Secret } from "../secret.ts";
import type { CredentialsSource, S3Options } from "../store/s3.ts";
import { parseS3Address } from "../store/s3-address.ts";
import { type WebIdentity, webIdentity } from "../store/web-identity.ts";
import { type Environment, UsageProblem } from "./command.ts";

type Names = Environment["env"];

const STATIC = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] as const;
const IDENTITY = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"] as const;

/** Who the token service is told that we are, where the environment does not say it. */
const SESSION_NAME = "postern";

export function s3OptionsOf(environment: Environment, url: string): S3Options | UsageProblem {
  const { env } = environment;
  const endpoint = env["AWS_ENDPOINT_URL_S3"] || undefined;
  const address = parseS3Address(url, { endpoint, region: env["AWS_REGION"] || undefined });
  if (typeof address === "string") return new UsageProblem(`--store is not understood: ${address}`);
  const wire = {
    fetch,
    after: (wait_ms: number, run: () => void) => {
      const timer = setTimeout(run, wait_ms);
      return () => clearTimeout(timer);
    },
    fraction: () => Number.parseInt(toHex(environment.random(4)), 16) / 2 ** 32,
  };
  const credentials = staticCredentials(env) ?? identityOf(env, address);
  if (credentials instanceof UsageProblem) return credentials;
  const source = typeof credentials === "function" ? credentials : webIdentity(credentials, wire);
  return { address, credentials: source, now_ms: () => environment.now_ms(), ...wire };
}

/** What AWS's own clients take first: a machine's role must not win over what somebody has set by hand. */
function staticCredentials(env: Names): CredentialsSource | UsageProblem | undefined {
  const [accessKeyId = "", secretAccessKey = "", sessionToken = ""] = STATIC.map((name) => env[name]);
  if (accessKeyId === "" && secretAccessKey === "") return undefined;
  if (accessKeyId === "" || secretAccessKey === "")
    return new UsageProblem("an S3 store needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both of them");
  // They go into headers: a line feed from a badly read file would end in an error that repeats them.
  const broken = invisibleIn(env, STATIC);
  if (broken !== undefined) return broken;
  const credentials = {
    accessKeyId,
    secretAccessKey: new Secret(utf8(secretAccessKey)),
    sessionToken: sessionToken === "" ? undefined : new Secret(utf8(sessionToken)),
  };
  return async () => credentials;
}

function identityOf(env: Names, { region, isAws }: S3Options["address"]): WebIdentity | UsageProblem {
  const [tokenFile = "", roleArn = "", sessionName = ""] = IDENTITY.map((name) => env[name]);
  if (tokenFile === "" || roleArn === "")
    return new UsageProblem(
      "an S3 store needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    );
  const broken = invisibleIn(env, ["AWS_ROLE_ARN"]);
  if (broken !== undefined) return broken;
  if (!/^(?:[\w+=,.@-]{2,64})?$/.test(sessionName))
    return new UsageProblem("AWS_ROLE_SESSION_NAME must be 2 to 64 of A-Z a-z 0-9 _ + = , . @ -");
  // The token is for one place: it is sent to AWS only where the bucket is there, too.
  const sts = env["AWS_ENDPOINT_URL_STS"] || (isAws ? `https://sts.${region}.amazonaws.com` : "");
  if (sts === "")
    return new UsageProblem(
      "AWS_ENDPOINT_URL_STS is needed for a web identity where the endpoint is not that of AWS",
    );
  const { protocol, username, password, search, hash } = URL.parse(sts) ?? { protocol: "" };
  if (!/^https?:$/.test(protocol) || `${username}${password}${search}${hash}` !== "")
    return new UsageProblem("AWS_ENDPOINT_URL_STS must be http://HOST or https://HOST");
  return {
    sts,
    roleArn,
    sessionName: sessionName || SESSION_NAME,
    readToken: () => readFile(tokenFile, "utf8"),
    clock_ms: () => performance.now(),
  };
}

function invisibleIn(env: Names, names: readonly string[]): UsageProblem | undefined {
  const broken = names.find((name) => !/^[\x21-\x7e]*$/.test(env[name] ?? ""));
  return broken === undefined
    ? undefined
    : new UsageProblem(`${broken} must be visible ASCII without spaces`);
}
