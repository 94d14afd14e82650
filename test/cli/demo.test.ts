/** `postern demo`: the tour ends by itself, and the gate answers as it says. */
import { expect, it } from "vitest";
import { postern } from "../support/postern.ts";

it("shows a call for every kind of refusal, and a bot that waits for a person; nothing surprises", async () => {
  const { code, stdout } = await postern(["demo"]);
  expect(code, stdout).toBe(0);
  expect(stdout).toContain("Every answer was as expected.");
  const waits =
    /it publishes at once\s+409 out_of_order.*\n(.*\n)+.*Rosa approves\s+200.*\n.*the bot publishes\s+200/;
  expect(stdout).toMatch(waits);
  const asks =
    /unasked, with the other\s+401 discharge_missing.*\n(.*\n)+.*the bot takes 50\s+200 \{"balance":30\}/;
  expect(stdout).toMatch(asks);
  expect(stdout).toMatch(/and once more\s+403 caveat_denied: .*its one use is used up/);
  expect(stdout).toMatch(/the bot adds a file\s+409 out_of_order.*behaviour frozen/);
});
