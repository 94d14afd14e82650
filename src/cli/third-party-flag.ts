/** `--third-party LOCATION=KEY:CONDITION`, as in `https://approvals.example=x25519:3f…:withdraw more than 100`. */
import { isRefusal } from "../errors.ts";
import { prepareThirdParty, type ThirdPartyCaveat } from "../sdk/third-party.ts";
import { type Environment, texts, UsageProblem, type Values } from "./command.ts";

export const THIRD_PARTY_FORM = "URL=x25519:KEY:CONDITION";

export function thirdPartiesFromFlags(
  environment: Environment,
  values: Values,
): readonly ThirdPartyCaveat[] | UsageProblem {
  const caveats: ThirdPartyCaveat[] = [];
  for (const given of texts(values, "third-party")) {
    const [, location = "", publicKey = "", condition = ""] =
      /^([^=\s]+)=(x25519:[0-9a-f]{64}):(.+)$/s.exec(given) ?? [];
    if (condition === "")
      return new UsageProblem(`--third-party ${given} is not of the form ${THIRD_PARTY_FORM}`);
    const caveat = prepareThirdParty({ location, publicKey, condition }, (length) =>
      environment.random(length),
    );
    if (isRefusal(caveat)) return new UsageProblem(`--third-party: ${caveat.detail}`);
    caveats.push(caveat);
  }
  return caveats;
}
