/**
 * Runs a handler written in JavaScript or TypeScript: one turn, text in, text out.
 *
 * `postern handler build` evaluates this module and the handler once, in QuickJS, and keeps the engine's memory as it
 * then stands. Each turn begins there. So what the handler computes at its top level is computed at the build, and
 * nothing that it keeps in a variable lasts from turn to turn.
 */
import { handle } from "postern:handler";

if (typeof handle !== "function") throw new TypeError("the handler exports no function `handle`");

const BuiltinDate = Date;
let now_ms = 0;
let random = [0, 0, 0, 0];

/** The turn's time is all the time there is: the same in a replay. */
function TurnDate(...parts) {
  if (new.target === undefined) return new BuiltinDate(now_ms).toString();
  return Reflect.construct(BuiltinDate, parts.length === 0 ? [now_ms] : parts, new.target);
}
TurnDate.prototype = BuiltinDate.prototype;
TurnDate.prototype.constructor = TurnDate;
TurnDate.UTC = BuiltinDate.UTC;
TurnDate.parse = BuiltinDate.parse;
TurnDate.now = () => now_ms;
globalThis.Date = TurnDate;
delete globalThis.performance;

/** sfc32 (PractRand), seeded by the turn: no secret may come of it. */
Math.random = () => {
  const [a, b, c, d] = random;
  const sum = (a + b + d) | 0;
  random = [b ^ (b >>> 9), (c + (c << 3)) | 0, (((c << 21) | (c >>> 11)) + sum) | 0, (d + 1) | 0];
  return (sum >>> 0) / 2 ** 32;
};

/** Source: the input of wasm/handler.wit; answers its output. */
export function turn(input) {
  const { now, ...given } = JSON.parse(input);
  now_ms = now;
  random = [0, 8, 16, 24].map((at) => Number.parseInt(given.seed.slice(at, at + 8), 16) | 0);
  return JSON.stringify(answer({ ...given, now }));
}

function answer(given) {
  let outcome;
  try {
    outcome = handle(given);
  } catch (error) {
    return { error: { code: "exception", detail: describe(error) } };
  }
  if (typeof outcome?.then === "function")
    return { error: { code: "exception", detail: "handle is async; a turn is over when it returns" } };
  // A missing reply is the gateway's to refuse.
  return outcome ?? {};
}

function describe(error) {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`.slice(0, 1000);
  const [place = ""] = (error.stack ?? "").split("\n");
  return `${error.name}: ${error.message} ${place.trim()}`.trim().slice(0, 1000);
}
