/**
 * Credentials by web identity: a token that the platform writes into a file is exchanged at the token service (STS,
 * AssumeRoleWithWebIdentity) for credentials of a role, as on Kubernetes.
 *
 * They are renewed while the old ones are good, by one request for all who wait, and the old ones serve until they
 * expire. Time is counted from the service's own `Date`, so a wrong clock here changes nothing. Neither the token nor
 * what it was exchanged for reaches a reason.
 */
import { fromUtf8, utf8 } from "../bytes.ts";
import {
  S3_BACKOFF_MS_MAX,
  S3_BACKOFF_MS_MIN,
  S3_READ_ATTEMPTS_MAX,
  STS_LIFETIME_MS_MAX,
  STS_PAUSE_MS,
  STS_RENEWAL_MS,
  STS_TOKEN_LENGTH_MAX,
} from "../limits.ts";
import { Secret } from "../secret.ts";
import {
  type Answer,
  codeOf,
  describe,
  errorCodeOf,
  exchange,
  type Failure,
  isPassing,
  pause,
  type Wire,
} from "./exchange.ts";
import type { CredentialsSource, S3Credentials } from "./s3-client.ts";
import { readXml } from "./s3-xml.ts";

export interface WebIdentity {
  /** The token service's URL. */
  readonly sts: string;
  readonly roleArn: string;
  readonly sessionName: string;
  /** Asked at each renewal, because the file's token changes. Throws where it cannot be read. */
  readonly readToken: () => Promise<string>;
  /** ms of a clock that is never set. */
  readonly clock_ms: () => number;
}

export function webIdentity(identity: WebIdentity, wire: Wire): CredentialsSource {
  const renewed = new RenewedCredentials(identity, wire);
  return (refused) => renewed.get(refused);
}

interface Held {
  readonly credentials: S3Credentials;
  readonly renewAt_ms: number;
  readonly expiresAt_ms: number;
}

/** What the service says of a token that it may take a moment later; the first also where keys have just changed. */
const PASSING_CODES: ReadonlySet<string> = new Set(["InvalidIdentityToken", "IDPCommunicationError"]);

class RenewedCredentials {
  readonly #identity: WebIdentity;
  readonly #wire: Wire;
  #held: Held | undefined;
  #renewal: Promise<void> | undefined;
  /** The next renewal begins no earlier, so that a service that fails, or credentials that never please, cost little. */
  #pausedUntil_ms = Number.NEGATIVE_INFINITY;
  #problem = "";

  constructor(identity: WebIdentity, wire: Wire) {
    this.#identity = identity;
    this.#wire = wire;
  }

  async get(refused?: S3Credentials): Promise<S3Credentials | Failure> {
    const now_ms = this.#identity.clock_ms();
    const isRefused = refused !== undefined && this.#held?.credentials === refused;
    const isDue = this.#held === undefined || isRefused || now_ms >= this.#held.renewAt_ms;
    if (isDue && now_ms >= this.#pausedUntil_ms)
      this.#renewal ??= this.#renew().finally(() => {
        this.#renewal = undefined;
      });
    if (isRefused || !this.#isValid()) await this.#renewal;
    return this.#held !== undefined && this.#isValid() ? this.#held.credentials : { failed: this.#problem };
  }

  #isValid(): boolean {
    return this.#held !== undefined && this.#identity.clock_ms() < this.#held.expiresAt_ms;
  }

  async #renew(): Promise<void> {
    const result = await this.#ask();
    const { fraction } = this.#wire;
    this.#pausedUntil_ms = this.#identity.clock_ms() + (STS_PAUSE_MS * (1 + fraction())) / 2;
    if ("failed" in result) this.#problem = `there are no credentials by web identity: ${result.failed}`;
    else this.#held = result;
  }

  /** Again while that can help, within a time of its own: who asked may have stopped waiting. */
  async #ask(): Promise<Held | Failure> {
    const cut = new AbortController();
    const forget = this.#wire.after(STS_RENEWAL_MS, () => cut.abort());
    try {
      for (let attempt = 1; ; attempt++) {
        const { result, passing } = await this.#askOnce(cut.signal);
        if (!passing || cut.signal.aborted || attempt >= S3_READ_ATTEMPTS_MAX) return result;
        const longest_ms = Math.min(S3_BACKOFF_MS_MAX, S3_BACKOFF_MS_MIN * 2 ** attempt);
        await pause(this.#wire, longest_ms, cut.signal);
      }
    } finally {
      forget();
    }
  }

  async #askOnce(over: AbortSignal): Promise<{ result: Held | Failure; passing: boolean }> {
    const { sts, clock_ms } = this.#identity;
    const form = await this.#form();
    if (typeof form !== "string") return { result: form, passing: false };
    const sentAt_ms = clock_ms();
    const request = {
      method: "POST",
      url: sts,
      headers: { "content-type": "application/x-www-form-urlencoded", "accept-encoding": "identity" },
      body: utf8(form),
    };
    const answer = await exchange(this.#wire, request, over);
    if ("status" in answer && answer.status === 200)
      return { result: this.#read(answer, sentAt_ms), passing: false };
    const passing = isPassing(answer) || ("status" in answer && PASSING_CODES.has(errorCodeOf(answer) ?? ""));
    return { result: { failed: `of the token service, ${describe(answer)}` }, passing };
  }

  async #form(): Promise<string | Failure> {
    const { roleArn, sessionName, readToken } = this.#identity;
    try {
      const token = (await readToken()).trim();
      if (token.length > STS_TOKEN_LENGTH_MAX || !/^[\x21-\x7e]+$/.test(token))
        return { failed: "the token file holds no token" };
      return new URLSearchParams({
        Action: "AssumeRoleWithWebIdentity",
        Version: "2011-06-15",
        RoleArn: roleArn,
        RoleSessionName: sessionName,
        WebIdentityToken: token,
      }).toString();
    } catch (error) {
      return { failed: `the token file cannot be read${codeOf(error)}` };
    }
  }

  #read({ header, body }: Answer, sentAt_ms: number): Held | Failure {
    const leaves = readXml(fromUtf8(body) ?? "");
    const value = (name: string): string => {
      const path = `AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/${name}`;
      return leaves?.get(path)?.[0]?.trim() ?? "";
    };
    const [id, secret, token] = [value("AccessKeyId"), value("SecretAccessKey"), value("SessionToken")];
    const expiration = value("Expiration");
    const lasts_ms = Date.parse(expiration) - Date.parse(header("date") ?? "");
    const isWhole = [id, secret, token].every((text) => /^[\x21-\x7e]+$/.test(text));
    if (!isWhole || !/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(expiration) || Number.isNaN(lasts_ms))
      return { failed: "the token service's answer cannot be understood" };
    // `Date` counts whole seconds.
    const lifetime_ms = Math.min(STS_LIFETIME_MS_MAX, lasts_ms - 1_000);
    if (lifetime_ms <= 0) return { failed: "the token service gave credentials that have expired" };
    return {
      credentials: {
        accessKeyId: id,
        secretAccessKey: new Secret(utf8(secret)),
        sessionToken: new Secret(utf8(token)),
      },
      // Somewhere between one half and three quarters: nodes that began together do not come together.
      renewAt_ms: sentAt_ms + lifetime_ms * (0.5 + this.#wire.fraction() / 4),
      expiresAt_ms: sentAt_ms + lifetime_ms,
    };
  }
}
