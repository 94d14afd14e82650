/**
 * The demo tenant's `release`: files are uploaded while somebody reviews them, then it is approved, then published.
 *
 * The gateway enforces the order, and who may send what; the handler holds its own against a wrong order all the same.
 */
import { fail, Outcome, replyAndStore, Turn } from "../lib/handler";
import { View, Writer } from "../lib/json";

export { pn_alloc } from "../lib/handler";

export function pn_handle(ptr: i32, length: i32): i64 {
  return handle(new Turn(ptr, length)).write();
}

function handle(turn: Turn): Outcome {
  const release = Release.load(turn.state);
  if (turn.message == "upload") return release.upload();
  if (turn.message == "review") return release.review(isTrue(turn.args, "freeze"));
  if (turn.message == "approve") return release.approve();
  if (turn.message == "publish") return release.publish();
  return fail("unknown_message", "the release does not know this message");
}

class Release {
  constructor(
    private files: i64,
    /** draft, reviewed, approved, published: in this order. */
    private stage: string,
  ) {}

  static load(state: View | null): Release {
    if (state === null) return new Release(0, "draft");
    const files = state.member("files");
    const stage = state.member("stage");
    return new Release(files === null ? 0 : files.integer(0), stage === null ? "draft" : stage.text());
  }

  upload(): Outcome {
    if (this.isApproved) return fail("approved_before", "what was approved is not changed any more");
    this.files++;
    return this.save();
  }

  /** @param freeze what was reviewed is what will be approved: nothing more can be uploaded */
  review(freeze: bool): Outcome {
    if (this.stage != "draft") return fail("reviewed_before", "the release was reviewed before");
    const reviewed = this.enter("reviewed");
    return freeze ? reviewed.become("frozen") : reviewed;
  }

  approve(): Outcome {
    if (this.stage != "reviewed") return fail("not_reviewed", "only what was reviewed can be approved, and once");
    if (this.files == 0) return fail("nothing_uploaded", "there is nothing to approve");
    return this.enter("approved");
  }

  publish(): Outcome {
    if (this.stage != "approved") return fail("not_approved", "only what was approved can be published, and once");
    return this.enter("published");
  }

  private get isApproved(): bool {
    return this.stage == "approved" || this.stage == "published";
  }

  private enter(stage: string): Outcome {
    this.stage = stage;
    return this.save();
  }

  private save(): Outcome {
    return replyAndStore(this.toJson(), this.toJson());
  }

  private toJson(): Writer {
    return new Writer().integer("files", this.files).string("stage", this.stage);
  }
}

function isTrue(args: View, name: string): bool {
  const member = args.member(name);
  return member !== null && member.isTrue;
}
