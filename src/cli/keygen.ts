/** `postern keygen`: a key that signs requests, or the key of a third party. */
import { closeSync, openSync, writeSync } from "node:fs";
import { newServiceKey } from "../sdk/service-key.ts";
import { newHolder } from "../signature/holder.ts";
import { type Command, text, UsageProblem } from "./command.ts";
import { messageOf } from "./inputs.ts";

export const keygen: Command = {
  name: "keygen",
  summary: "make a holder key, or a discharge service's",
  usage: "[--out FILE] [--alg bip340|ed25519|x25519]",
  options: { out: { type: "string" }, alg: { type: "string" } },
  help: {
    out: "write the secret key to this new file (mode 0600) and print the public key only",
    alg: "bip340 (default); ed25519 for callers whose library has nothing else; x25519 for a discharge service",
  },
  async run(environment, values) {
    const scheme = text(values, "alg") ?? "bip340";
    if (scheme !== "bip340" && scheme !== "ed25519" && scheme !== "x25519")
      return new UsageProblem(`--alg ${scheme} is none of bip340, ed25519 and x25519`);
    const random = (length: number) => environment.random(length);
    const { secret, publicKey } = scheme === "x25519" ? newServiceKey(random) : newHolder(scheme, random);
    const path = text(values, "out");
    if (path === undefined)
      return {
        json: { secret_key: secret, public_key: publicKey },
        text: `secret_key ${secret}\npublic_key ${publicKey}`,
      };
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, `${secret}\n`);
      closeSync(file);
    } catch (error) {
      return new UsageProblem(`${path} cannot be written: ${messageOf(error)}`);
    }
    return { json: { public_key: publicKey, secret_key_file: path }, text: publicKey };
  },
};
