/**
 * Protocol rows: what the order of messages costs at each call.
 *
 * The other side is the plainest code that a person would write by hand for exactly this protocol: transitions in
 * a Map of Maps, without labels, states by id or an explanation. The way that needs no thought, a regular
 * expression over the joined history, is told in a note: it grows with the history.
 */
import { compileProtocol } from "../src/protocol/automaton.ts";
import { type Monitor, stepAll } from "../src/protocol/monitor.ts";
import { expectDone, PROTOCOL } from "./callers.ts";
import { compare, type Measure, median, type Row, timed, withMore } from "./harness.ts";

const HISTORY = 32;
const BEHAVIOUR = "behaviour";
const CAVEAT = "00112233445566778899aabbccddeeff";

/** Steps both monitors by one message and keeps the new states, as the shard does. */
function ourStep(): () => unknown {
  const automaton = expectDone(compileProtocol(PROTOCOL));
  const monitors: readonly Monitor[] = [
    { id: BEHAVIOUR, automaton },
    { id: CAVEAT, automaton, caveat: { index: 3, text: `protocol = ${PROTOCOL}` } },
  ];
  const states = new Map<string, number>();
  const move = (message: string): unknown => {
    const steps = expectDone(stepAll(monitors, (id) => states.get(id) ?? 0, message));
    for (const { id, to } of steps) states.set(id, to);
    return steps;
  };
  move("open");
  return () => move("deposit");
}

function mapOfMaps(): () => unknown {
  const loop = new Map([
    ["deposit", "used"],
    ["withdraw", "used"],
    ["balance", "used"],
    ["close", "closed"],
  ]);
  const machine = new Map([
    ["start", new Map([["open", "used"]])],
    ["used", loop],
    ["closed", new Map<string, string>()],
  ]);
  const states = new Map([
    [BEHAVIOUR, "used"],
    [CAVEAT, "used"],
  ]);
  const next = (id: string, message: string): string | undefined =>
    machine.get(states.get(id) ?? "start")?.get(message);
  const move = (message: string): boolean => {
    const behaviour = next(BEHAVIOUR, message);
    const caveat = next(CAVEAT, message);
    if (behaviour === undefined || caveat === undefined) return false;
    states.set(BEHAVIOUR, behaviour);
    states.set(CAVEAT, caveat);
    return true;
  };
  return () => move("deposit");
}

function historyByRegExp(): () => unknown {
  const expression = /^open;(?:(?:deposit|withdraw|balance);)*(?:close;)?$/;
  const history = ["open", ...Array<string>(HISTORY).fill("deposit")];
  const histories = [history, history];
  return () => histories.every((words) => expression.test(`${words.join(";")};deposit;`));
}

export async function step(seconds: number): Promise<readonly Row[]> {
  const what = "stepAll of 2 monitors of the demo protocol, against hand-written Map-of-Map transitions";
  const spec = { id: "protocol.step", unit: "µs", better: "lower", what, seconds } as const;
  const row = await compare(spec, timed(ourStep()), timed(mapOfMaps()));
  const regExp_us = await medianOf(timed(historyByRegExp()));
  const note = `RegExp test over a joined history of ${HISTORY} messages, twice: ${regExp_us.toFixed(2)} µs, growing with the history`;
  return [withMore(row, { regexp_us: regExp_us }, note)];
}

async function medianOf(measure: Measure): Promise<number> {
  const values: number[] = [];
  for (let i = 0; i < 9; i++) values.push(await measure());
  return median(values);
}
