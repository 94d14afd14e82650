/** libsecp256k1 as Debian packages it, through a small C program: another opinion, and what native code takes. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/bytes.ts";

/** 32, 32 and 64 bytes. */
export interface Case {
  readonly key: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Verdict {
  readonly isValid: boolean;
  /** Of one verification. */
  readonly us: number;
}

export type Libsecp256k1 = (cases: readonly Case[], times?: number) => readonly Verdict[];

export const LIBSECP256K1_PACKAGES = ["libsecp256k1-dev", "gcc", "libc6-dev"];

/** @param folder where it is compiled to  @returns `undefined` where the library or a C compiler is not installed */
export function compileLibsecp256k1(folder: string): Libsecp256k1 | undefined {
  const program = join(folder, "libsecp256k1");
  const source = fileURLToPath(new URL("libsecp256k1.c", import.meta.url));
  if (spawnSync("cc", ["-O2", "-o", program, source, "-lsecp256k1"]).status !== 0) return undefined;
  return (cases, times = 1) => {
    const lines = cases.map(({ key, message, signature }) =>
      [toHex(key), toHex(message), toHex(signature), times].join(" "),
    );
    const answers = execFileSync(program, { input: lines.join("\n"), encoding: "utf8" })
      .trim()
      .split("\n");
    return answers.map((answer) => {
      const [verdict, us] = answer.split(" ");
      return { isValid: verdict === "1", us: Number(us) };
    });
  };
}
