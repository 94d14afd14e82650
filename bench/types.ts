/**
 * Type row: what typed protocols cost the compiler. Its other side is a program that only imports the SDK.
 */
import { INTERLEAVED, LONG, ROOT, typeCheck } from "../test/sdk/type-check.ts";
import { compare, type Measure, type Row, withMore } from "./harness.ts";

const NOTHING = `import { msg } from "${ROOT}src/sdk/protocol.ts";\nexport const nothing = msg();\n`;

function seconds(text: string): Measure {
  return async () => {
    const start_ms = performance.now();
    const { errors } = await typeCheck({ "program.ts": text });
    if (errors.length > 0) throw new Error(errors[0]);
    return (performance.now() - start_ms) / 1000;
  };
}

export async function typeCheckTime(given: number): Promise<readonly Row[]> {
  const what = "tsc on 20 interleaved open, use, close in 60 steps, against tsc on the SDK alone";
  const spec = { id: "types.interleaved_vs_sdk", unit: "s", better: "lower", what, seconds: given } as const;
  const row = await compare(spec, seconds(INTERLEAVED), seconds(NOTHING));
  const long_s = await seconds(LONG)();
  const { instantiations } = await typeCheck({ "program.ts": INTERLEAVED });
  const longest = await typeCheck({ "program.ts": LONG });
  const note = `a sequence of 500 messages in 500 steps: ${long_s.toFixed(1)} s`;
  const details = { long_s, instantiations, long_instantiations: longest.instantiations };
  return [withMore(row, details, note)];
}
