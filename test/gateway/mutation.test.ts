/** A signed request is refused with any byte of it changed, unless nothing that was signed has changed with it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Caller, signRequest } from "../../src/sdk/client.ts";
import { call, codeOf, freshAccount, party, startGate, type TestGate } from "../support/gate.ts";
import { exchange, wire } from "../support/raw.ts";

let gate: TestGate;
let ada: Caller;
const actor = freshAccount();

beforeAll(async () => {
  gate = await startGate();
  ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
});
afterAll(() => gate.end());

/** Fresh for each use: a nonce is taken once. */
function signedRequest(): Uint8Array {
  const body = new TextEncoder().encode('{"amount":1}');
  const more = { "idempotency-key": '"one and the same"' };
  return wire(signRequest(ada, `/v1/demo/${actor}/deposit`, body, more));
}

/** Not signed: how bytes travel. What they say must be right all the same, or the request is another one. */
const UNSIGNED = new Set(["connection", "content-type", "content-length"]);

/** The name of the header line that this byte is in; the whole line where it is none. */
function lineAt(bytes: Uint8Array, at: number): string {
  const text = Buffer.from(bytes).toString("latin1");
  const line = text.slice(text.lastIndexOf("\n", at - 1) + 1).split("\r\n")[0] ?? "";
  return /^([a-z-]+): /.exec(line)?.[1] ?? line;
}

const MASKS = [0x01, 0x02, 0x10, 0x80];

test("no byte can be changed", async () => {
  expect((await exchange(gate.server.url, signedRequest())).status).toBe(200);
  const { length } = signedRequest();
  const taken = new Set<string>();
  for (let at = 0; at < length; at++) {
    const bytes = signedRequest();
    const line = lineAt(bytes, at);
    // Never a letter's case alone: names of headers have none.
    bytes[at] = (bytes[at] ?? 0) ^ (MASKS[at % MASKS.length] ?? 1);
    if (line === "content-length") continue; // The gate would wait for bytes that never come.
    const { status } = await exchange(gate.server.url, bytes);
    if (status === 200) taken.add(line);
  }
  expect([...taken].filter((line) => !UNSIGNED.has(line))).toEqual([]);
  expect(codeOf(await call(ada, actor, "balance"))).toBe("200");
}, 120_000);
