/**
 * Token rows: what verifying a token costs that was never seen before, from its text.
 */
import { randomBytes } from "node:crypto";
import macaroons from "macaroons.js";
import { parseCaveat } from "../src/authorize/caveats.ts";
import { Secret } from "../src/secret.ts";
import { decodeToken, encodeToken } from "../src/token/envelope.ts";
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

export async function cold20(seconds: number): Promise<readonly Row[]> {
  const caveats = twentyCaveats();
  const secret = new Secret(randomBytes(32));
  const text = encodeToken(mintFor(1, secret, caveats));
  const ours = (): number => {
    const token = expectDone(verify(expectDone(decodeToken(text)), secret));
    let read = 0;
    for (const { text: caveat, index } of token.caveats) {
      expectDone(parseCaveat(caveat, index));
      read++;
    }
    return read;
  };

  const theirSecret = "a secret of the other side";
  const builder = new macaroons.MacaroonsBuilder(
    "postern",
    theirSecret,
    "an identifier of much the same length",
  );
  for (const caveat of caveats) builder.add_first_party_caveat(caveat);
  const packets = builder.getMacaroon().serialize();
  const theirs = (): boolean => {
    const verifier = new macaroons.MacaroonsVerifier(macaroons.MacaroonsDeSerializer.deserialize(packets));
    for (const caveat of caveats) verifier.satisfyExact(caveat);
    return verifier.isValid(theirSecret);
  };
  if (ours() !== CAVEATS || !theirs()) throw new Error("one of the sides does not verify its token");

  const what = `decode, verify and read ${CAVEATS} caveats, against macaroons.js deserialize + satisfyExact for all + isValid`;
  const spec = { id: "token.cold20_vs_macaroonsjs", unit: "µs", better: "lower", what, seconds } as const;
  return [await compare(spec, timed(ours), timed(theirs))];
}
