/** The demo handler `release` goes through its stages in order and keeps what was approved. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runTurn } from "../../src/dispatch/sandbox.ts";
import { isRefusal } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { admitted, TURN } from "./guests.ts";

const module = admitted(readFileSync(new URL("../../wasm/release/release.wasm", import.meta.url)));

/** The last reply, or the handler's own code where it refused; messages before that must pass. */
function after(...messages: readonly string[]): unknown {
  let state: string | undefined;
  let last: unknown;
  for (const message of messages) {
    const args = message === "upload" ? { file: "a.tgz" } : {};
    const result = runTurn(module, { ...TURN, actor: "release/1", state, message, args });
    last = isRefusal(result) ? result.facts.handler_code : result.reply;
    if (!isRefusal(result)) ({ state } = result);
  }
  return last;
}

describe("a release", () => {
  test.each([
    [["upload"], { files: 1, stage: "draft" }],
    [["review"], { files: 0, stage: "reviewed" }],
    [["upload", "review", "upload"], { files: 2, stage: "reviewed" }],
    [["upload", "review", "approve"], { files: 1, stage: "approved" }],
    [["upload", "review", "approve", "publish"], { files: 1, stage: "published" }],
  ] as const)("after %j stands at %j", (messages, reply) => {
    expect(after(...messages)).toEqual(reply);
  });

  test("becomes frozen where its review says so, and not otherwise", () => {
    const review = (args: Json) => runTurn(module, { ...TURN, state: undefined, message: "review", args });
    expect(review({ freeze: true })).toMatchObject({ reply: { stage: "reviewed" }, become: "frozen" });
    for (const args of [{}, { freeze: false }]) expect(review(args)).not.toHaveProperty("become");
  });

  test.each([
    [["review", "review"], "reviewed_before"],
    [["upload", "approve"], "not_reviewed"],
    [["review", "approve"], "nothing_uploaded"],
    [["upload", "review", "publish"], "not_approved"],
    [["upload", "review", "approve", "upload"], "approved_before"],
    [["upload", "review", "approve", "approve"], "not_reviewed"],
    [["upload", "review", "approve", "publish", "publish"], "not_approved"],
    [["upload", "review", "approve", "publish", "upload"], "approved_before"],
    [["upload", "nonsense"], "unknown_message"],
  ] as const)("refuses the last of %j, whatever the gate has let through: %s", (messages, code) => {
    expect(after(...messages)).toBe(code);
  });
});
