/** What a refusal says of order: what would be admitted, which monitor refused, and whether another token moved it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Problem } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import type { Caller } from "../../src/sdk/client.ts";
import {
  call,
  freshAccount,
  mintToken,
  narrow,
  newSigner,
  party,
  startGate,
  type TestGate,
} from "../support/gate.ts";

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

const FIRST = "protocol = deposit{0,2} ; balance*";

/** An open account, and two tokens that share a caveat and were narrowed from there, each in its own way. */
async function siblings() {
  const actor = freshAccount();
  const parent = party(gate, actor);
  await call(parent, actor, "open", { owner: "Ada" });
  const shared = narrow(parent.token, FIRST);
  const of = (...caveats: readonly string[]): Caller => ({ ...parent, token: narrow(shared, ...caveats) });
  return { actor, parent, one: of("message in deposit,balance"), other: of("message in deposit") };
}

const deposit = (caller: Caller, actor: string) => call(caller, actor, "deposit", { amount: 1 });

async function refused(caller: Caller, actor: string, message: string, args: Json = {}): Promise<Problem> {
  const outcome = await call(caller, actor, message, args);
  if (!("problem" in outcome)) throw new Error(`${message} was admitted`);
  expect(outcome.status).toBe(409);
  return outcome.problem;
}

describe("409 out_of_order", () => {
  it("says that a sibling moved the caveat on, and what is left for this token", async () => {
    const { actor, one, other } = await siblings();
    await deposit(one, actor);
    await deposit(one, actor);
    const problem = await refused(other, actor, "deposit", { amount: 1 });
    expect(problem).toMatchObject({
      code: "out_of_order",
      caveat: { index: 4, text: FIRST },
      enabled: [],
      moved_by_sibling: true,
    });
    expect(problem.detail).toBe(
      `deposit is not admitted now by caveat 4 (${FIRST}), which another token moved last; nothing is admitted ` +
        "now: the protocols and caveats that apply here have no next message in common",
    );
    const own = await refused(one, actor, "deposit", { amount: 1 });
    expect(own).toMatchObject({ caveat: { index: 4 }, enabled: ["balance"], moved_by_sibling: false });
    expect(own.detail).not.toContain("another token");
  });

  it("tells a descendant from its parent, and no copy from another", async () => {
    const { actor, parent } = await siblings();
    const child: Caller = { ...parent, token: narrow(parent.token, "message in close") };
    const copy: Caller = { ...parent };
    await call(child, actor, "close");
    expect(await refused(copy, actor, "balance")).toMatchObject({ moved_by_sibling: true });
    expect(await refused(child, actor, "close")).toMatchObject({ moved_by_sibling: false });
  });

  it("says it of the actor's behaviour, which all share, whatever the root", async () => {
    const { actor, one } = await siblings();
    const signer = newSigner();
    const caveats = [`actor = ${actor}`, "expires < 2099-01-01T00:00:00Z", `holder = ${signer.publicKey}`];
    const stranger = { ...one, signer, token: mintToken(gate.key, caveats) };
    expect((await call(stranger, actor, "close")).status).toBe(200);
    const problem = await refused(one, actor, "deposit", { amount: 1 });
    expect(problem).toMatchObject({ enabled: [], moved_by_sibling: true });
    expect(problem.caveat).toBeUndefined();
    expect(problem.detail).toContain("by the actor's behaviour, which another token moved last");
  });

  it("says nothing of a monitor that nobody has moved", async () => {
    const { actor, parent } = await siblings();
    const caller = { ...parent, token: narrow(parent.token, "protocol = withdraw ; deposit") };
    const problem = await refused(caller, actor, "deposit", { amount: 1 });
    expect(problem).toMatchObject({ caveat: { index: 4 }, enabled: ["withdraw"] });
    expect(problem).not.toHaveProperty("moved_by_sibling");
  });

  it("names no token: who moved it is for the one who knows both to say", async () => {
    const { actor, one, other } = await siblings();
    await deposit(one, actor);
    await deposit(one, actor);
    const problem = await refused(other, actor, "deposit", { amount: 1 });
    expect(JSON.stringify(problem)).not.toMatch(/pst_|[0-9a-f]{32}/);
  });
});

it("what moved a monitor is known after a restart", async () => {
  const { actor, one, other } = await siblings();
  await deposit(one, actor);
  await deposit(other, actor);
  await gate.server.stop(0);
  gate = await startGate(gate.directory);
  const url = gate.server.url;
  expect(await refused({ ...one, url }, actor, "deposit", { amount: 1 })).toMatchObject({
    moved_by_sibling: true,
  });
  expect(await refused({ ...other, url }, actor, "deposit", { amount: 1 })).toMatchObject({
    moved_by_sibling: false,
  });
});
