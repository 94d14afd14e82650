/** One question to a token, as the gate asks it about a single message. */
import { Authority, type Grant, type Requirements } from "../../src/authorize/authorize.ts";
import type { Access } from "../../src/authorize/caveats.ts";
import { Readings } from "../../src/authorize/readings.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { VerifiedMacaroon } from "../../src/token/macaroon.ts";

export function authorize(
  token: VerifiedMacaroon,
  access: Access,
  requirements: Requirements,
): Grant | Refusal {
  const authority = Authority.of(token, access.signer, requirements, new Readings());
  if (isRefusal(authority)) return authority;
  return authority.refuse(access) ?? authority.grant();
}
