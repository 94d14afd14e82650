/**
 * Stage costs: where the time of one call goes, each stage alone, in this process, over the same signed request.
 *
 * A stage is what `src/gateway.ts` calls for it, warmed up and without the socket. The stages take turns, so that
 * their sum is one of the same minute. What their sum leaves of a request on the wire is HTTP itself, the glue
 * between stages, garbage, and waiting for the disk.
 */
import { randomBytes } from "node:crypto";
import { type Entry, encodeEntry } from "../src/actor/entry.ts";
import { Authority, refuseExpired } from "../src/authorize/authorize.ts";
import { Readings, readingBytes } from "../src/authorize/readings.ts";
import { fromUtf8, utf8 } from "../src/bytes.ts";
import type { ShardLog } from "../src/cluster/log.ts";
import { runTurn } from "../src/dispatch/sandbox.ts";
import { isJsonObject, parseJson } from "../src/json.ts";
import { createProtocolCache } from "../src/protocol/cache.ts";
import { monitorId, stepAll } from "../src/protocol/monitor.ts";
import { compileSchema } from "../src/protocol/schema.ts";
import { checkContentDigest } from "../src/request/digest.ts";
import { readSignature } from "../src/request/signature-base.ts";
import { signCall } from "../src/sdk/client.ts";
import { Secret } from "../src/secret.ts";
import { ed25519 } from "../src/signature/ed25519.ts";
import { HolderSignatures } from "../src/signature/holder.ts";
import { KnownKeys } from "../src/signature/known-keys.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { decodeToken, encodeToken } from "../src/token/envelope.ts";
import { PrefixCache } from "../src/token/prefix-cache.ts";
import { verify } from "../src/token/verify.ts";
import { callerOf, DEPOSIT, expectDone, identities, mintFor, PROTOCOL, TENANT } from "./callers.ts";
import { removeFolder, temporaryFolder } from "./children.ts";
import { type Measure, measureAll, type Row, timed, timedAsync } from "./harness.ts";
import { accountBytes, admitted, DEPOSIT_TURN, INSTANCES_BATCH_MS } from "./sandbox.ts";
import { openBenchLog } from "./shard-log.ts";

/** Appends that share a write in `stage.durable_append_shared`: about what `log.calls_per_put` finds. */
const SHARED = 16;

interface Stage {
  readonly id: string;
  readonly what: string;
  readonly measure: (call: Call) => Measure;
}

/** One call, with what each stage gets from the one before it. */
type Call = Awaited<ReturnType<typeof composeCall>>;

async function composeCall(log: ShardLog) {
  const secret = new Secret(randomBytes(32));
  const [identity] = identities(1, (caveats) => encodeToken(mintFor(1, secret, caveats)));
  if (identity === undefined) throw new Error("no identity was made");
  const url = "http://127.0.0.1:8787";
  const caller = callerOf(identity, url);
  const signed = signCall(caller, {
    tenant: TENANT,
    actor: identity.actor,
    message: "deposit",
    args: DEPOSIT,
  });
  const request = {
    method: "POST",
    authority: "127.0.0.1:8787",
    path: new URL(signed.url).pathname,
    query: "?",
    field: (name: string): string | null => signed.headers[name] ?? null,
  };
  const macaroon = expectDone(decodeToken(identity.token));
  const [type = "", id = ""] = identity.actor.split("/");
  const access = {
    actor: { type, id },
    message: "deposit",
    now_ms: Date.now(),
    signer: caller.signer.publicKey,
    args: DEPOSIT,
    address: undefined,
    authority: "127.0.0.1:8787",
  };
  const schema = {
    type: "object",
    properties: { amount: { type: "integer", exclusiveMinimum: 0 } },
    required: ["amount"],
    additionalProperties: false,
  } as const;
  const checkArgs = compileSchema(schema);
  if (typeof checkArgs === "string") throw new Error(checkArgs);
  return {
    secret,
    token: identity.token,
    macaroon,
    request,
    access,
    checkArgs,
    log,
    body: signed.body,
    digest: signed.headers["content-digest"] ?? null,
    signature: expectDone(readSignature(request)),
    verified: expectDone(verify(macaroon, secret)),
    module: admitted(accountBytes()),
    entry: entryFor(identity.actor, caller.signer.publicKey),
  };
}

function entryFor(actor: string, signer: string): Entry {
  const nonce = "0123456789abcdefghijkl";
  return {
    v: 3,
    actor: `${TENANT}/${actor}`,
    at: 1_767_225_600_000,
    signer,
    token: [nonce, "ab".repeat(16)],
    turns: [["deposit", DEPOSIT, "00112233445566778899aabbccddeeff", { balance: 1001 }]],
    behaviour: [PROTOCOL, 1],
    monitors: [],
    kept: [`${signer}:${nonce}`, `deposit:${"ab".repeat(32)}`, 1_767_226_200_000],
    nonce: [`${signer}:${nonce}`, 1_767_225_660],
  };
}

const signatures = new HolderSignatures(new KnownKeys(), ed25519);

const STATE_BEFORE = '{"owner":"Bench","balance":1000}';
const STATE = '{"owner":"Bench","balance":1001}';

const STAGES: readonly Stage[] = [
  {
    id: "stage.decode_token",
    what: "token text → macaroon (base64url, CRC, v2 binary), 6 caveats",
    measure: ({ token }) => timed(() => expectDone(decodeToken(token))),
  },
  {
    id: "stage.signature_base",
    what: "Signature-Input and Signature read, signature base built (RFC 9421)",
    measure: ({ request }) => timed(() => expectDone(readSignature(request))),
  },
  {
    id: "stage.content_digest",
    what: "Content-Digest read and checked against the body",
    measure: ({ body, digest }) => timed(() => expectDone(checkContentDigest(digest, body))),
  },
  {
    id: "stage.chain6_warm",
    what: "a token of 6 caveats that has verified before: tails found, signature compared, use noted",
    measure: ({ secret, macaroon, verified: { identifier } }) => {
      const prefixes = new PrefixCache({ readingBytes, monotonic_ms: () => performance.now() });
      return timed(() => {
        const chain = prefixes.chainOf(identifier, secret, macaroon);
        expectDone(verify(macaroon, secret, [], chain.tails));
        chain.keep();
      });
    },
  },
  {
    id: "stage.schnorr_verify",
    what: "tagged hash of the base, BIP-340 verification for a key that has signed before",
    measure: ({ signature: { keyid, base, signature } }) =>
      timed(() => {
        if (!signatures.verifyRequest(keyid, base, signature))
          throw new Error("the signature does not verify");
      }),
  },
  {
    id: "stage.caveats",
    what: "expiry looked for in the claimed caveats, then all 6, read before, asked",
    measure: ({ macaroon, verified, access }) => {
      const readings = new Readings();
      const requirements = { holder: "required", signatures } as const;
      return timed(() => {
        const texts = macaroon.unsafeCaveats.map(({ cid }) => fromUtf8(cid) ?? "");
        if (refuseExpired(texts, access.now_ms) !== undefined) throw new Error("the token has expired");
        const authority = expectDone(Authority.of(verified, access.signer, requirements, readings));
        return expectDone(authority.refuse(access) ?? authority.grant());
      });
    },
  },
  {
    id: "stage.parse_and_schema",
    what: "arguments parsed strictly and checked by their schema, and the reply by an equal one",
    measure: ({ body, checkArgs }) =>
      timed(() => {
        const { value } = expectDone(parseJson(body));
        if (!isJsonObject(value) || checkArgs(value) !== undefined || checkArgs({ amount: 2 }) !== undefined)
          throw new Error("the arguments are not of their type");
      }),
  },
  {
    id: "stage.protocol_step",
    what: "2 automata from the cache, the caveat's monitor id, both monitors stepped",
    measure: ({ verified }) => {
      const cache = createProtocolCache();
      const tail = verified.caveats[3]?.tail ?? utf8("");
      return timed(() => {
        const automaton = expectDone(cache.get(PROTOCOL));
        const monitors = [
          { id: "behaviour", automaton },
          { id: monitorId(tail), automaton: expectDone(cache.get(PROTOCOL)) },
        ];
        return expectDone(stepAll(monitors, () => 1, "deposit"));
      });
    },
  },
  {
    id: "stage.wasm_turn",
    what: "one turn of account.deposit in a fresh metered instance",
    measure: ({ module }) => timed(() => expectDone(runTurn(module, DEPOSIT_TURN)), INSTANCES_BATCH_MS),
  },
  {
    id: "stage.log_entry_encode",
    what: "the call's log entry as JSON",
    measure: ({ entry }) => timed(() => encodeEntry(entry, STATE_BEFORE, STATE)),
  },
  {
    id: "stage.durable_append",
    what: "an append to the log on SQLite, alone in its write, until it is durable",
    measure: ({ entry, log }) => {
      const text = encodeEntry(entry, STATE_BEFORE, STATE);
      return timedAsync(async () => expectDone(await log.append(text)));
    },
  },
  {
    id: "stage.durable_append_shared",
    what: `the same with ${SHARED} appends in one write, for each of them`,
    measure: ({ entry, log }) => {
      const text = encodeEntry(entry, STATE_BEFORE, STATE);
      const group = timedAsync(async () => {
        const settled = await Promise.all(Array.from({ length: SHARED }, () => log.append(text)));
        for (const refusal of settled) expectDone(refusal);
      });
      return async () => (await group()) / SHARED;
    },
  },
];

export const STAGE_IDS = STAGES.map(({ id }) => id);

/** @param seconds for each stage */
export async function stageCosts(ids: ReadonlySet<string>, seconds: number): Promise<readonly Row[]> {
  const folder = temporaryFolder();
  const store = sqliteStore(folder);
  const log = await openBenchLog(store);
  try {
    const call = await composeCall(log);
    const sides = STAGES.filter(({ id }) => ids.has(id)).map((stage) => ({
      spec: { id: stage.id, unit: "µs", better: "lower", what: stage.what, seconds } as const,
      measure: stage.measure(call),
    }));
    return await measureAll(sides, seconds * sides.length);
  } finally {
    await log.idle();
    await store.close();
    removeFolder(folder);
  }
}

/** Lines that hold the stages against the full path, where both were measured. */
export function account(rows: readonly Row[]): readonly string[] {
  const stages = rows.filter(({ id }) => id.startsWith("stage.") && id !== "stage.durable_append");
  if (stages.length < STAGES.length - 1) return [];
  const sum_us = stages.reduce((sum, { ours }) => sum + ours, 0);
  const lines = [`stages together, ${SHARED} calls sharing a write: ${sum_us.toFixed(0)} µs`];
  const full = rows.find(({ id }) => id === "http.full_vs_echo");
  if (full === undefined || full.theirs === null) return lines;
  const full_us = 1e6 / full.ours;
  // An echo is faster than the load generator: its CPU time says what it costs.
  const echo_us = full.details["theirs_cpu_us"] ?? 1e6 / full.theirs;
  const rest_us = full_us - sum_us - echo_us;
  const share = (part_us: number): string =>
    `${part_us.toFixed(0)} µs (${((100 * part_us) / full_us).toFixed(0)} %)`;
  return [
    ...lines,
    `a call on the full path: ${full_us.toFixed(0)} µs = stages ${share(sum_us)} + an echo's HTTP ${share(echo_us)} + the rest ${share(rest_us)}`,
  ];
}
