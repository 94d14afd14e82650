/** `postern protocol check` of policies: what each message asks of the node that serves it, and what actors may become. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { json, postern } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-check-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function policies(name: string, actor: string): string {
  const folder = join(directory, name, "demo");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "tenant.yaml"), "tenant: demo\n");
  writeFileSync(join(folder, "clock.yaml"), `actor: clock\nhandler: { wasm: clock }\n${actor}`);
  return join(directory, name);
}

it("shows which messages any node answers, and which are logged", async () => {
  const { stdout } = await postern([
    "protocol",
    "check",
    policies(
      "stateless",
      "state: none\nmessages: { ping: {}, begin: {}, finish: {} }\n" +
        "protocol: ping* & (begin ; finish)*\nbehaviour: ping* & (begin ; finish)*\n",
    ),
  ]);
  expect(stdout).toMatch(/ping +admitted always, moves nothing +no state +by any node, nothing to log/);
  expect(stdout).toMatch(/begin +moves the order on +no state +by the actor's owner, logged/);
});

it("shows what an actor may become, how it first comes there, and what that makes of its messages", async () => {
  const folder = policies(
    "becoming",
    "messages: { ping: { reads: true }, stop: {} }\nprotocol: (ping | stop)*\nbehaviour: (ping | stop)*\n" +
      "become: { deaf: stop*, gone: end }\n",
  );
  const { stdout } = await postern(["protocol", "check", folder]);
  expect(stdout).toContain("become     deaf: stop* (first possible after nothing)\n");
  expect(stdout).toMatch(
    /ping +admitted now and then, moves nothing +reads +by the actor's owner, nothing to log/,
  );
  expect(await json(["protocol", "check", folder])).toMatchObject({
    actors: [
      {
        become: [
          { name: "deaf", expression: "stop*", from: "behaviour", after: [] },
          { name: "gone", expression: "end", from: "behaviour", after: [] },
        ],
      },
    ],
  });
});

it("shows a name that the actor can never become, with a word", async () => {
  const actor =
    "messages: { ping: {} }\nprotocol: ping\nbehaviour: ping ; ping\nbecome: { more: 'ping{3,3}' }\n";
  const { code, stdout } = await postern(["protocol", "check", policies("never", actor)]);
  expect(code).toBe(1);
  expect(stdout).toContain("clock.yaml:6:17: the actor can never become more");
});
