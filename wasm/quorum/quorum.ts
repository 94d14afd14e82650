/**
 * The demo tenant's `quorum`: it holds a capability to approve a release, and uses it when enough people have voted.
 *
 * It is given the capability and never sees its token: a handle comes in the arguments, stays in the state, goes with the
 * send, and goes back in the reply that hands it back. Who votes is what the voter's token says (`when = args.voter == …`).
 */
import { fail, handleIn, Outcome, reply, replyAndStore, Turn } from "../lib/handler";
import { quote, View, Writer } from "../lib/json";

export { pn_alloc } from "../lib/handler";

export function pn_handle(ptr: i32, length: i32): i64 {
  return handle(new Turn(ptr, length)).write();
}

function handle(turn: Turn): Outcome {
  const state = turn.state;
  if (turn.message == "begin") return begin(turn.args, state);
  if (state === null) return fail("not_begun", "the quorum was given nothing to decide");
  const quorum = Quorum.load(state);
  if (turn.message == "count") return reply(quorum.count());
  if (quorum.isOver) return fail("over", "the quorum has handed back what it had");
  if (turn.message == "vote") return quorum.vote(turn.args);
  if (turn.message == "hand_back") return quorum.handBack();
  return fail("unknown_message", "the quorum does not know this message");
}

function begin(args: View, state: View | null): Outcome {
  if (state !== null) return fail("begun_before", "the quorum has something to decide already");
  const needed = args.member("needed");
  const quorum = new Quorum(handleIn(args, "capability"), needed === null ? 1 : needed.integer(1), 0, "{}");
  return quorum.save();
}

class Quorum {
  constructor(
    /** -1 where it was handed back. */
    private capability: i64,
    private needed: i64,
    private votes: i64,
    /** A JSON object with a member for each. */
    private voters: string,
  ) {}

  static load(state: View): Quorum {
    const voters = state.member("voters");
    return new Quorum(
      handleIn(state, "capability"),
      integerOf(state, "needed"),
      integerOf(state, "votes"),
      voters === null ? "{}" : voters.raw(),
    );
  }

  get isOver(): bool {
    return this.capability < 0;
  }

  vote(args: View): Outcome {
    const voter = args.member("voter");
    const name = voter === null ? "" : voter.text();
    if (View.of(this.voters).member(name) !== null) return fail("voted_before", "everybody has one vote");
    const before = this.voters.substring(0, this.voters.length - 1);
    this.voters = before + (this.votes == 0 ? "" : ",") + quote(name) + ":true}";
    this.votes++;
    const saved = this.save();
    // Once: the order of the release admits no second approval.
    return this.votes == this.needed ? saved.send(this.capability, "approve", new Writer()) : saved;
  }

  /** To whoever asks, who may then approve by himself, and no more than this. */
  handBack(): Outcome {
    const back = new Writer().handle("capability", this.capability);
    this.capability = -1;
    return replyAndStore(back, this.toState());
  }

  count(): Writer {
    const decided = this.votes >= this.needed;
    return new Writer().integer("votes", this.votes).integer("needed", this.needed).boolean("decided", decided);
  }

  save(): Outcome {
    return replyAndStore(this.count(), this.toState());
  }

  private toState(): Writer {
    const state = new Writer()
      .integer("needed", this.needed)
      .integer("votes", this.votes)
      .json("voters", this.voters);
    return this.isOver ? state : state.handle("capability", this.capability);
  }
}

/** 0 where it is missing or no exact integer. */
function integerOf(value: View, name: string): i64 {
  const member = value.member(name);
  return member === null ? 0 : member.integer(0);
}
