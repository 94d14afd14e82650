/** `postern keygen`: a key that signs requests. */
import { closeSync, openSync, writeSync } from "node:fs";
import { toHex } from "../bytes.ts";
import { bip340Signer, holderKey } from "../signature/bip340.ts";
import { type Command, text, UsageProblem } from "./command.ts";
import { messageOf } from "./inputs.ts";

export const keygen: Command = {
  name: "keygen",
  summary: "make a holder key",
  usage: "[--out FILE]",
  options: { out: { type: "string" } },
  help: { out: "write the secret key to this new file (mode 0600) and print the public key only" },
  async run(environment, values) {
    // A random string is no key with probability 2^-128; asking again costs nothing.
    let key = holderKey(environment.random(32));
    while (key === undefined) key = holderKey(environment.random(32));
    const { publicKey } = bip340Signer(key, () => environment.random(32));
    const secret = toHex(key.expose());
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
