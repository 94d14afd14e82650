import { Simulation } from "./simulation.ts";

const [from, to, verbose] = process.argv.slice(2);
const tally = {};
let current: Simulation | undefined;
process.on("unhandledRejection", (e) => current?.fail(e as Error));
const t0 = performance.now();
let fails = 0;
for (let seed = Number(from); seed < Number(to); seed++) {
  current = new Simulation(seed, tally, verbose ? console.log : undefined);
  const t = performance.now();
  try {
    await current.run();
  } catch (e) {
    fails++;
    console.log(
      "seed",
      seed,
      e instanceof Error && !verbose ? e.message.slice(0, 300) : e,
      verbose ? "" : JSON.stringify(current.profile),
    );
  }
  const took = performance.now() - t;
  if (took > 2000) console.log("slow", seed, took.toFixed(0), JSON.stringify(current.profile));
}
console.log(
  tally,
  "fails",
  fails,
  ((performance.now() - t0) / (Number(to) - Number(from))).toFixed(1),
  "ms per seed",
  "cpu",
  (process.cpuUsage().user / 1000 / (Number(to) - Number(from))).toFixed(1),
);
