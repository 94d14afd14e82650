/**
 * One send as one request: signed with its sender's key, and asked of this node's own gate, which passes it on to whoever
 * leads its receiver's shard.
 */
import { handOnKept, type Vault } from "./actor/capabilities.ts";
import type { Send } from "./actor/outbox.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import { CODES, type Code, isRefusal, type Refusal, refuse } from "./errors.ts";
import { SEND_TIMEOUT_MS } from "./limits.ts";
import { type CallOutcome, send, signRequest } from "./sdk/client.ts";
import { SENDER_HEADER, sendKey } from "./sender.ts";
import type { Signer } from "./signature/scheme.ts";
import { decodeTokens } from "./token/envelope.ts";

export interface CourierOptions {
  readonly vault: Vault & { signer(owner: string): Signer };
  /** This node's gate, as a caller meets it. */
  readonly ask: (request: Request) => Promise<Response>;
  /** Where it answers, unless a token says for which audience it is. */
  readonly url: string;
  /** ms since the epoch. */
  readonly wall_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

export class Courier {
  readonly #options: CourierOptions;

  constructor(options: CourierOptions) {
    this.#options = options;
  }

  get vault(): Vault {
    return this.#options.vault;
  }

  get wall_ms(): () => number {
    return this.#options.wall_ms;
  }

  /** Asks the receiver once: as `DeliveriesOptions` has it. */
  async attempt(address: string, { record, caps }: Send): Promise<string | Refusal> {
    const { vault, ask, wall_ms, random } = this.#options;
    const [number, to, receiver, message, args] = record;
    const slash = address.indexOf("/");
    const [tenant, sender] = [address.slice(0, slash), address.slice(slash + 1)];
    const sealed = caps.find(([id]) => id === to)?.[1] ?? "";
    const token = vault.open(address, to, sealed);
    const out = handOnKept({ vault, owner: address }, args, caps, vault.publicKey(`${tenant}/${receiver}`));
    if (isRefusal(out)) return out.code;
    const url = audienceOf(token) ?? this.#options.url;
    const caller = { url, token, signer: vault.signer(address), now_ms: wall_ms, random };
    const request = signRequest(caller, `/v1/${tenant}/${receiver}/${message}`, utf8(JSON.stringify(out)), {
      "idempotency-key": `"${sendKey(number)}"`,
      "request-timeout-ms": String(SEND_TIMEOUT_MS),
      [SENDER_HEADER]: sender,
    });
    try {
      return answerIn(await send(request, (where, init) => ask(new Request(where, init))));
    } catch {
      return refuse("outcome_unknown", "the gate's answer cannot be read");
    }
  }
}

/** A token that is meant for one gate is used under that gate's name. */
function audienceOf(token: string): string | undefined {
  const tokens = decodeTokens(token);
  if (isRefusal(tokens)) return undefined;
  const texts = tokens[0].unsafeCaveats.map(({ cid }) => fromUtf8(cid) ?? "");
  return texts.find((text) => text.startsWith("audience = "))?.slice("audience = ".length);
}

/**
 * What is no fault of the send, but of its way between nodes: a nonce that was met there, a clock, a host. The next
 * attempt is signed anew.
 */
const BY_THE_WAY = new Set<Code>(["replayed", "signature_invalid"]);

function answerIn(outcome: CallOutcome): string | Refusal {
  if ("result" in outcome) return "done";
  const code = codeIn(outcome.problem);
  if (code === undefined) return refuse("outcome_unknown", "the gate's answer is no problem document");
  const again = CODES[code].retry || BY_THE_WAY.has(code);
  return again ? refuse(code, "the send is tried again") : code;
}

function codeIn(problem: unknown): Code | undefined {
  if (typeof problem !== "object" || problem === null || !("code" in problem)) return undefined;
  const { code } = problem;
  return typeof code === "string" && Object.hasOwn(CODES, code) ? (code as Code) : undefined;
}
