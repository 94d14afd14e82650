/** Actors' keys and sealed capabilities as every node of a test has them, without any chance. */
import { Secret } from "../../src/secret.ts";
import { MasterVault } from "../../src/vault.ts";

let sealed = 0;

export const VAULT = new MasterVault(new Secret(new Uint8Array(32).fill(7)), (length) => {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(0, ++sealed);
  return bytes;
});
