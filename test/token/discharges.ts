/** Third parties for tests: a service with its key, and the discharge of one of its tickets. */
import { Secret } from "../../src/secret.ts";
import type { Addition } from "../../src/token/chain.ts";
import { bindDischarge, mintDischarge } from "../../src/token/discharge.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { boxPublicKey } from "../../src/token/sealed-box.ts";
import { type ThirdPartyCaveat, thirdPartyCaveat } from "../../src/token/third-party.ts";
import { random } from "../support/gate.ts";
import { taken } from "./outcome.ts";

export const SERVICE = new Secret(new Uint8Array(32).fill(9));
export const SERVICE_KEY = boxPublicKey(SERVICE);
export const PLACE = "https://auth.example";

export function asking(condition = "please", location = PLACE): ThirdPartyCaveat {
  return taken(thirdPartyCaveat({ location, publicKey: SERVICE_KEY, condition }, random));
}

/** As the service mints it, unbound. */
export function discharge(
  { ticket, rootKey }: ThirdPartyCaveat,
  additions: readonly Addition[] = [],
): Macaroon {
  return taken(mintDischarge(ticket, rootKey, additions, PLACE));
}

/** The discharge of a caveat, bound to a token. */
export function bound(root: Macaroon, caveat: ThirdPartyCaveat, additions?: readonly Addition[]): Macaroon {
  return bindDischarge(discharge(caveat, additions), root);
}
