/** How a typed call ends when it is not answered with a result: what may be done next differs, and so do these. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Problem } from "../errors.ts";

/** The gate refused the call, or a third party its discharge. It had no effect, and the reference can be used for another. */
export class CallRefusedError extends Error {
  override readonly name = "CallRefusedError";
  readonly problem: Problem;

  /** @param differs what of the request arrived otherwise than it was signed */
  constructor(message: string, problem: Problem, differs: readonly string[] = []) {
    super([`${message} was refused: ${problem.code}: ${problem.detail}`, ...differs].join("; "));
    this.problem = problem;
  }
}

/** Whether the call took effect is not known. The same call on the same reference asks again, and takes effect once. */
export class OutcomeUnknownError extends Error {
  override readonly name = "OutcomeUnknownError";
  /** What the gate said, where it said something. */
  readonly problem: Problem | undefined;

  constructor(message: string, reason: string, problem?: Problem, cause?: unknown) {
    super(`the outcome of ${message} is not known: ${reason}; repeat the same call to learn it`, { cause });
    this.problem = problem;
  }
}

/** A bug in the program: the reference was used already. Its cause has the stack of the first use. */
export class ReferenceUsedError extends Error {
  override readonly name = "ReferenceUsedError";
}

/** A value that the message's Standard Schema refuses. */
export class InvalidValueError extends Error {
  override readonly name = "InvalidValueError";
  readonly issues: readonly StandardSchemaV1.Issue[];
  /** The reference after the call, where a result was refused: the call took effect. */
  readonly next: unknown;

  constructor(what: string, issues: readonly StandardSchemaV1.Issue[], next?: unknown) {
    super(`${what}: ${issues.map(describe).join("; ")}`);
    this.issues = issues;
    this.next = next;
  }
}

function describe({ message, path = [] }: StandardSchemaV1.Issue): string {
  const keys = path.map((part) => String(typeof part === "object" ? part.key : part));
  return keys.length === 0 ? message : `at ${keys.join(".")}: ${message}`;
}
