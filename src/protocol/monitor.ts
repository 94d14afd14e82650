/**
 * Monitors: the running states of the protocols that one call must satisfy.
 *
 * Everything here is pure. A message steps every monitor or none: `stepAll` returns the steps for the caller to
 * write in the same log entry as the effect, or the refusal, and changes nothing. One more monitor can only take
 * words away, so attenuation only narrows (law 2). The id of a caveat's monitor is unforgeable, the same for all
 * who hold the caveat at that place of the chain, and does not reveal the signature it comes from (law 7).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, toHex, utf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import type { Automaton } from "./automaton.ts";

export interface Monitor {
  /** 32 hex digits for a caveat; whatever the caller names the actor's behaviour. */
  readonly id: string;
  readonly automaton: Automaton;
  /** Index in the token, counted from 0, and whole text. Absent: the actor's behaviour. */
  readonly caveat?: { readonly index: number; readonly text: string };
  /** What the actor has become, where this is its behaviour and not the one that it began under. */
  readonly name?: string;
}

export interface Step {
  readonly id: string;
  readonly from: number;
  readonly to: number;
}

/** The state of each monitor by id; 0, the start, for one never seen. */
export type MonitorStates = (id: string) => number;

/** Whether another token than the caller's moved a monitor last; `undefined` where it stands at its start. */
export type MovedByAnother = (id: string) => boolean | undefined;

const ID_TAG = utf8("postern/monitor/v1");
const TOKEN_TAG = utf8("postern/token/v1");
const ID_BYTES = 16;

/** @param chainSignature the macaroon's signature just after the caveat was added. */
export function monitorId(chainSignature: Uint8Array): string {
  return idOf(ID_TAG, chainSignature);
}

/**
 * What names a token where it is told which one moved a monitor. No monitor's id, and like it no secret.
 * @param chainSignature the macaroon's last one
 */
export function tokenDigest(chainSignature: Uint8Array): string {
  return idOf(TOKEN_TAG, chainSignature);
}

function idOf(tag: Uint8Array, chainSignature: Uint8Array): string {
  return toHex(sha256(concat(tag, chainSignature)).subarray(0, ID_BYTES));
}

/**
 * @param among the messages that the token allows at all; only these are told as enabled
 * @param movedByAnother so that a refusal can tell whether the caller himself has brought the monitor where it stands
 * @returns one step for each monitor, to be applied together, or `out_of_order` with what is enabled now.
 */
export function stepAll(
  monitors: readonly Monitor[],
  states: MonitorStates,
  message: string,
  among?: ReadonlySet<string>,
  movedByAnother?: MovedByAnother,
): readonly Step[] | Refusal {
  const steps: Step[] = [];
  for (const monitor of monitors) {
    const { id, automaton } = monitor;
    const from = states(id);
    const to = automaton.next(from, message);
    if (to === undefined) {
      const enabled = enabledNow(monitors, states, among);
      return outOfOrder(monitor, from, message, enabled, movedByAnother?.(id));
    }
    // One id is one monitor: met twice it still moves once.
    if (!steps.some((step) => step.id === id)) steps.push({ id, from, to });
  }
  return steps;
}

/** @returns the messages that all monitors admit now, sorted. Without any monitor nothing is known: none. */
export function enabledNow(
  monitors: readonly Monitor[],
  states: MonitorStates,
  among?: ReadonlySet<string>,
): readonly string[] {
  const [first, ...others] = monitors;
  if (first === undefined) return [];
  const at = others.map(({ id, automaton }) => ({ automaton, state: states(id) }));
  return first.automaton
    .enabled(states(first.id))
    .filter((message) => among?.has(message) ?? true)
    .filter((message) => at.every(({ automaton, state }) => automaton.next(state, message) !== undefined));
}

function outOfOrder(
  { automaton, caveat, name }: Monitor,
  state: number,
  message: string,
  enabled: readonly string[],
  moved_by_sibling: boolean | undefined,
): Refusal {
  const behaviour = `the actor's behaviour${name === undefined ? "" : ` ${name}`}`;
  const by = caveat === undefined ? behaviour : `caveat ${caveat.index} (${caveat.text})`;
  const sibling = moved_by_sibling === true ? ", which another token moved last" : "";
  let instead = `admitted now: ${enabled.join(", ")}`;
  if (enabled.length === 0)
    instead =
      automaton.enabled(state).length === 0
        ? "nothing is admitted any more: the protocol is finished"
        : "nothing is admitted now: the protocols and caveats that apply here have no next message in common";
  return refuse("out_of_order", `${message} is not admitted now by ${by}${sibling}; ${instead}`, {
    enabled,
    ...(caveat !== undefined && { caveat }),
    ...(name !== undefined && { behaviour: name }),
    ...(moved_by_sibling !== undefined && { moved_by_sibling }),
  });
}
