/**
 * The handler interface (wasm/handler.wit) for AssemblyScript: read the turn, answer with an outcome.
 *
 * A handler is one function from `Turn` to `Outcome`. It has no clock, no randomness and no memory of its own:
 * time and a seed are in the turn, and what is to last is in the state.
 */
import { quote, View, Writer } from "./json";

/** Room for the input. Nothing is ever freed: the instance lives for one turn. */
export function pn_alloc(size: i32): i32 {
  return <i32>heap.alloc(<usize>(<u32>size));
}

export class Turn {
  /** Absent for an actor that has no state yet. */
  readonly state: View | null;
  readonly message: string;
  readonly args: View;
  readonly now_ms: i64;
  readonly seed: string;
  readonly actor: string;

  constructor(ptr: i32, length: i32) {
    const start = <usize>(<u32>ptr);
    const input = new View(start, start + <usize>(<u32>length));
    const state = need(input, "state");
    this.state = state.isNull ? null : state;
    this.message = need(input, "message").text();
    this.args = need(input, "args");
    this.now_ms = need(input, "now").integer(0);
    this.seed = need(input, "seed").text();
    this.actor = need(input, "actor").text();
  }
}

/** Every member of the input is there; without one, the gateway and the handler do not fit: trap. */
function need(input: View, name: string): View {
  const member = input.member(name);
  assert(member !== null);
  return member as View;
}

/** The number of the capability in a member of that name, `{"$cap": n}`; -1 where there is none. */
export function handleIn(value: View, name: string): i64 {
  const member = value.member(name);
  if (member === null) return -1;
  const number = member.member("$cap");
  return number === null ? -1 : number.integer(-1);
}

export class Outcome {
  private sends: string = "";

  constructor(private text: string) {}

  /** Beside a reply: the actor goes on under that behaviour of its policy, which must be narrower than what is left. */
  become(name: string): Outcome {
    return this.with("become", quote(name));
  }

  /** Beside a reply: a message to the actor of a capability. It is sent once the turn is on record. */
  send(capability: i64, message: string, args: Writer): Outcome {
    const send = new Writer().handle("to", capability).string("message", message).object("args", args);
    this.sends += (this.sends.length == 0 ? "" : ",") + send.toString();
    return this;
  }

  private with(name: string, json: string): Outcome {
    this.text = this.text.substring(0, this.text.length - 1) + `,${quote(name)}:${json}}`;
    return this;
  }

  /** As `pn_handle` answers it: ptr << 32 | length. */
  write(): i64 {
    if (this.sends.length > 0) this.with("sends", `[${this.sends}]`);
    const bytes = String.UTF8.encode(this.text);
    return ((<i64>changetype<usize>(bytes)) << 32) | <i64>bytes.byteLength;
  }
}

/** Done, and the state stays as it was. */
export function reply(value: Writer): Outcome {
  return new Outcome(new Writer().object("reply", value).toString());
}

/** Done, with a new state. */
export function replyAndStore(value: Writer, state: Writer): Outcome {
  return new Outcome(new Writer().object("reply", value).object("state", state).toString());
}

/** The handler refuses: the caller gets code and detail, and nothing changes. */
export function fail(code: string, detail: string): Outcome {
  const error = new Writer().string("code", code).string("detail", detail);
  return new Outcome(new Writer().object("error", error).toString());
}
