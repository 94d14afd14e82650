/** What the S3 driver needs, as the command line gives it: undici, the real clock, credentials by their usual names. */
import { fetch } from "undici";
import { utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import type { S3Options } from "../../src/store/s3.ts";
import { parseS3Address } from "../../src/store/s3-address.ts";

export function s3Options(url: string, env: Readonly<Record<string, string>>): S3Options {
  const address = parseS3Address(url, { endpoint: env["AWS_ENDPOINT_URL_S3"], region: env["AWS_REGION"] });
  if (typeof address === "string") throw new Error(address);
  const credentials = {
    accessKeyId: env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: new Secret(utf8(env["AWS_SECRET_ACCESS_KEY"] ?? "")),
    sessionToken: undefined,
  };
  return {
    address,
    credentials: async () => credentials,
    fetch,
    now_ms: () => Date.now(),
    after: (wait_ms, run) => {
      const timer = setTimeout(run, wait_ms);
      return () => clearTimeout(timer);
    },
    fraction: Math.random,
  };
}
