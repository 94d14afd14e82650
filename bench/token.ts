/**
 * Token rows: what verifying a token costs, from its text: one that was never seen before, and one that was.
 */
import { randomBytes } from "node:crypto";
import macaroons from "macaroons.js";
import { parseCaveat } from "../src/authorize/caveats.ts";
import { Readings, readingBytes } from "../src/authorize/readings.ts";
import { Secret } from "../src/secret.ts";
import { decodeToken, encodeToken } from "../src/token/envelope.ts";
import { parseIdentifier } from "../src/token/macaroon.ts";
import { PrefixCache } from "../src/token/prefix-cache.ts";
import { verify } from "../src/token/verify.ts";
import { caveatsFor, expectDone, mintFor } from "./callers.ts";
import { compare, type Row, timed } from "./harness.ts";

const CAVEATS = 20;

/** Twenty caveats as they occur: those of a minted token, narrowed again and again. */
function twentyCaveats(): readonly string[] {
  const minted = caveatsFor("account/42", "ab".repeat(32));
  const narrowed = Array.from(
    { length: CAVEATS - minted.length },
    (_, i) => `expires < 2099-01-01T00:00:${String(59 - i).padStart(2, "0")}Z`,
  );
  return [...minted, ...narrowed];
}

/** Decodes, verifies and reads a token. */
function reader(text: string, secret: Secret): () => void {
  return () => {
    const token = expectDone(verify(expectDone(decodeToken(text)), secret));
    for (const { text: caveat, index } of token.caveats) expectDone(parseCaveat(caveat, index));
  };
}

/** The same with what a gate keeps of tokens that have verified. */
function warmReader(text: string, secret: Secret): () => void {
  const prefixes = new PrefixCache({ readingBytes, monotonic_ms: () => performance.now() });
  const readings = new Readings();
  return () => {
    const macaroon = expectDone(decodeToken(text));
    const identifier = parseIdentifier(macaroon.identifier);
    if (identifier === undefined) throw new Error("the token has no identifier");
    const chain = prefixes.chainOf(identifier, secret, macaroon);
    const token = expectDone(verify(macaroon, secret, [], chain.tails));
    chain.keep();
    for (const caveat of token.caveats) expectDone(readings.read(caveat, 0));
  };
}

/** macaroons.js keeps nothing: it does all of it each time. */
function macaroonsJs(caveats: readonly string[]): () => void {
  const secret = "a secret of the other side";
  const builder = new macaroons.MacaroonsBuilder("postern", secret, "an identifier of much the same length");
  for (const caveat of caveats) builder.add_first_party_caveat(caveat);
  const packets = builder.getMacaroon().serialize();
  return () => {
    const verifier = new macaroons.MacaroonsVerifier(macaroons.MacaroonsDeSerializer.deserialize(packets));
    for (const caveat of caveats) verifier.satisfyExact(caveat);
    if (!verifier.isValid(secret)) throw new Error("macaroons.js does not verify its token");
  };
}

const THEIRS = "against macaroons.js deserialize + satisfyExact for all + isValid";

export function cold20(seconds: number): Promise<readonly Row[]> {
  const what = `decode, verify and read ${CAVEATS} caveats, ${THEIRS}`;
  return twenty({ id: "token.cold20_vs_macaroonsjs", what }, reader, seconds);
}

export function warm20(seconds: number): Promise<readonly Row[]> {
  const what = `the same for a token that has verified before (no HMAC, nothing parsed), ${THEIRS}`;
  return twenty({ id: "token.warm20_vs_macaroonsjs", what }, warmReader, seconds);
}

async function twenty(
  row: { readonly id: string; readonly what: string },
  ours: typeof reader,
  seconds: number,
): Promise<readonly Row[]> {
  const caveats = twentyCaveats();
  const secret = new Secret(randomBytes(32));
  const text = encodeToken(mintFor(1, secret, caveats));
  const spec = { ...row, unit: "µs", better: "lower", seconds } as const;
  return [await compare(spec, timed(ours(text, secret)), timed(macaroonsJs(caveats)))];
}
