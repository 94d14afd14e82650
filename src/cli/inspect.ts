/** `postern inspect`: what a token says, caveat by caveat. Offline, unless a store is given to verify it with. */
import { parseCaveat } from "../authorize/caveats.ts";
import { expiryIn } from "../authorize/expiry.ts";
import { fromUtf8, toBase64url } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { TOKEN_LENGTH_COMFORTABLE } from "../limits.ts";
import { readKeyring } from "../tenants.ts";
import { encodeV2 } from "../token/codec-v2.ts";
import { verifyingKey } from "../token/keyring.ts";
import { type Macaroon, parseIdentifier } from "../token/macaroon.ts";
import { verify } from "../token/verify.ts";
import {
  type Command,
  type Environment,
  printable,
  shortened,
  UsageProblem,
  type Values,
} from "./command.ts";
import { type DischargeTree, dischargeTree } from "./discharge-tree.ts";
import { openStore } from "./inputs.ts";
import { holdingOf } from "./token-holder.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP, type TokenInput } from "./token-input.ts";

export const inspect: Command = {
  name: "inspect",
  summary: "read a token",
  usage: "[--token FILE] [--store URL]",
  options: { ...TOKEN_INPUT, store: { type: "string" } },
  help: { ...TOKEN_INPUT_HELP, store: "verify it with the keys in this store (default: not checked)" },
  async run(environment, values) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const checked = values["store"] === undefined ? "not checked" : await check(input, environment, values);
    if (checked instanceof UsageProblem) return checked;
    const { status, verified, failed } = verdictOf(checked);

    const tokens = [input.macaroon, ...input.discharges];
    const tree = dischargeTree(input.macaroon, input.discharges);
    const described = tokens.map((macaroon, token) => describe(macaroon, token, verified, tree));
    const [root = describe(input.macaroon, 0, verified, tree), ...discharges] = described;
    const warnings = warningsOf(input, tree, environment.now_ms());
    const identifier = parseIdentifier(input.macaroon.identifier);
    return {
      json: {
        identifier: root.identifier,
        tenant: identifier?.tenant,
        kid: identifier?.kid,
        caveats: root.caveats,
        size_bytes: root.size_bytes,
        status,
        ...(discharges.length > 0 && { discharges }),
        warnings,
      },
      text: [
        root.identifier,
        ...caveatLines(root, described),
        `${root.size_bytes} bytes; ${status}`,
        ...tree.unused.flatMap((token) => strayLines(described, token)),
        ...warnings.map((warning) => `warning: ${warning}`),
      ].join("\n"),
      failed,
    };
  },
};

/** What came of checking: a token whose chain holds is verified, though it cannot be used without its discharges. */
function verdictOf(checked: Refusal | "not checked" | undefined): {
  readonly status: string;
  readonly verified: boolean;
  readonly failed: boolean;
} {
  if (checked === undefined) return { status: "verified", verified: true, failed: false };
  if (!isRefusal(checked)) return { status: checked, verified: false, failed: false };
  const verified = checked.code === "discharge_missing";
  return {
    status: verified ? `verified, but ${checked.detail}` : checked.detail,
    verified,
    failed: !verified,
  };
}

interface DescribedCaveat {
  readonly text: string;
  readonly verified: boolean;
  readonly known: boolean;
  /** Of a third party: which ticket it takes, and which of the discharges there is for it. */
  readonly ticket?: string;
  readonly discharge?: number;
}

interface Described {
  /** Of a discharge, which has another's bytes there, the ticket. */
  readonly identifier: string;
  readonly caveats: readonly DescribedCaveat[];
  readonly size_bytes: number;
}

function describe(macaroon: Macaroon, token: number, verified: boolean, tree: DischargeTree): Described {
  const caveats = macaroon.unsafeCaveats.map(({ cid, vid, location }, index): DescribedCaveat => {
    const discharge = tree.answerTo(token, index);
    if (vid !== undefined)
      return {
        text: printable(thirdParty(location)),
        verified,
        known: false,
        ticket: toBase64url(cid),
        ...(discharge !== undefined && { discharge }),
      };
    const text = printable(fromUtf8(cid) ?? "(not UTF-8)");
    return { text, verified, known: !isRefusal(parseCaveat(text, index)) };
  });
  const text = fromUtf8(macaroon.identifier);
  const identifier = text === undefined ? `ticket ${toBase64url(macaroon.identifier)}` : printable(text);
  return { identifier, caveats, size_bytes: encodeV2(macaroon).length };
}

const thirdParty = (location: string | undefined): string =>
  location === undefined ? "(third party)" : `(third party at ${location})`;

/** One line for each caveat, and below a third party's those of its discharge. */
function caveatLines({ caveats }: Described, all: readonly Described[]): readonly string[] {
  const width = String(Math.max(0, caveats.length - 1)).length;
  return caveats.flatMap(({ text, known, ticket, discharge }, index) => {
    const unknown = known || ticket !== undefined ? "" : "   (unknown: a gate refuses it)";
    const line = `  ${String(index).padStart(width)}  ${shortened(text)}${unknown}`;
    if (ticket === undefined) return [line];
    const own = discharge === undefined ? undefined : all[discharge];
    const below =
      own === undefined
        ? ["its discharge is missing"]
        : [`discharge ${discharge}, ${own.size_bytes} bytes`, ...caveatLines(own, all)];
    return [line, ...below.map((each) => `${" ".repeat(width + 4)}${each}`)];
  });
}

function strayLines(all: readonly Described[], token: number): readonly string[] {
  const stray = all[token];
  if (stray === undefined) return [];
  return ["with a discharge that no caveat asks for", stray.identifier, ...caveatLines(stray, all)];
}

/** What its owner will want to know before a gate says so. */
function warningsOf(
  { macaroon, discharges, text }: TokenInput,
  tree: DischargeTree,
  now_ms: number,
): readonly string[] {
  const warnings: string[] = [];
  const over = expired(macaroon, now_ms);
  if (over !== undefined) warnings.push(`it has expired: ${over}`);
  for (const [at, discharge] of discharges.entries()) {
    const ended = expired(discharge, now_ms);
    if (ended !== undefined) warnings.push(`discharge ${at + 1} has expired: ${ended}`);
  }
  for (const token of tree.unused) warnings.push(`discharge ${token} is for no caveat: a gate refuses it`);
  const { key, contradictory } = holdingOf(macaroon);
  if (contradictory) warnings.push("its holder caveats contradict each other: nobody can use it");
  else if (key === undefined) warnings.push("it is bound to no key: whoever has it can use it");
  if (text.length > TOKEN_LENGTH_COMFORTABLE)
    warnings.push(
      `as text it has ${text.length} characters: many servers and proxies take no header past 4 to 8 KB`,
    );
  return warnings;
}

/** The first `expires` that is over. */
function expired({ unsafeCaveats }: Macaroon, now_ms: number): string | undefined {
  return unsafeCaveats
    .map(({ cid, vid }) => (vid === undefined ? (fromUtf8(cid) ?? "") : ""))
    .find((caveat) => (expiryIn(caveat) ?? Infinity) <= now_ms);
}

/** @returns `undefined` where the token verifies. */
async function check(
  { macaroon, discharges }: TokenInput,
  environment: Environment,
  values: Values,
): Promise<Refusal | UsageProblem | undefined> {
  const opened = await openStore(environment, values, "read");
  if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
  try {
    const identifier = parseIdentifier(macaroon.identifier);
    if (identifier === undefined) return refuse("token_invalid", "the token's identifier is not Postern's");
    const ring = await readKeyring(opened.store, identifier.tenant, opened.master);
    if (isRefusal(ring)) return ring;
    const key = verifyingKey(ring, identifier.kid);
    if (key === undefined) return refuse("token_invalid", `the token's key ${identifier.kid} is not in use`);
    const token = verify(macaroon, key.secret, discharges);
    return isRefusal(token) ? token : undefined;
  } finally {
    await opened.store.close();
  }
}
