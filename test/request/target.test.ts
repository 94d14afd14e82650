import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { readTarget } from "../../src/request/target.ts";
import { outcome } from "../token/outcome.ts";

const read = (path: string) => readTarget(new URL(path, "http://gate.example"));
const ALICE = { tenant: "demo", type: "account", id: "alice", message: "open" };

describe("a path names an actor's message, or the actor", () => {
  test.each([
    ["/v1/demo/account/alice/open", ALICE],
    ["/v1/demo/account/alice", { ...ALICE, message: undefined }],
    ["/v1/demo/account/alice/open?", ALICE],
    ["/v1/demo/account/alice/open#fragment", ALICE],
    ["/v1/demo/account/A.l_i~c:e@x-1/open", { ...ALICE, id: "A.l_i~c:e@x-1" }],
    [`/v1/demo/account/${"a".repeat(128)}/open`, { ...ALICE, id: "a".repeat(128) }],
    // Names of Object.prototype are names like others: what is looked up by them is a Map.
    [
      "/v1/constructor/constructor/constructor/constructor",
      { tenant: "constructor", type: "constructor", id: "constructor", message: "constructor" },
    ],
  ])("%s", (path, target) => {
    expect(read(path)).toEqual(target);
  });
});

describe("in one spelling only", () => {
  test.each([
    ["a query", "/v1/demo/account/alice/open?x=1", "malformed_request"],
    ["something behind it", "/v1/demo/account/alice/open/more", "malformed_request"],
    ["a slash behind it", "/v1/demo/account/alice/open/", "malformed_request"],
    ["another version", "/v2/demo/account/alice/open", "malformed_request"],
    ["a slash before it", "http://gate.example//v1/demo/account/alice/open", "malformed_request"],
    ["an empty tenant", "/v1//account/alice/open", "no_such_tenant"],
    ["a tenant in capitals", "/v1/Demo/account/alice/open", "no_such_tenant"],
    ["an encoded tenant", "/v1/d%65mo/account/alice/open", "no_such_tenant"],
    ["a tenant that is too long", `/v1/${"a".repeat(65)}/account/alice/open`, "no_such_tenant"],
    ["the tenant __proto__", "/v1/__proto__/account/alice/open", "no_such_tenant"],
    ["an empty type", "/v1/demo//alice/open", "no_such_actor_type"],
    ["an encoded type", "/v1/demo/acc%6funt/alice/open", "no_such_actor_type"],
    ["the type __proto__", "/v1/demo/__proto__/alice/open", "no_such_actor_type"],
    ["an empty id", "/v1/demo/account//open", "malformed_request"],
    ["an encoded id", "/v1/demo/account/al%69ce/open", "malformed_request"],
    ["an encoded slash in the id", "/v1/demo/account/a%2fb/open", "malformed_request"],
    ["an encoded zero in the id", "/v1/demo/account/alice%00/open", "malformed_request"],
    ["a star for the id", "/v1/demo/account/*/open", "malformed_request"],
    ["the id __proto__", "/v1/demo/account/__proto__/open", "malformed_request"],
    ["an id of three dots", "/v1/demo/account/.../open", "malformed_request"],
    ["an id that is too long", `/v1/demo/account/${"a".repeat(129)}/open`, "malformed_request"],
    ["letters beyond ASCII", "/v1/demo/account/alicé/open", "malformed_request"],
    ["an empty message", "/v1/demo/account/alice/", "no_such_message"],
    ["a slash behind an actor", "/v1/demo/account/alice//", "malformed_request"],
    ["no actor", "/v1/demo/account", "malformed_request"],
    ["a message in capitals", "/v1/demo/account/alice/Open", "no_such_message"],
    ["the message __proto__", "/v1/demo/account/alice/__proto__", "no_such_message"],
    ["an encoded message", "/v1/demo/account/alice/op%65n", "no_such_message"],
    ["nothing", "/", "malformed_request"],
  ])("%s", (_, path, code) => {
    expect(outcome(read(path))).toBe(code);
  });

  test("dot segments are gone before the path is read, encoded or not, so they name nobody else", () => {
    expect(read("/v1/demo/account/bob/../alice/open")).toEqual(ALICE);
    expect(read("/v1/demo/account/bob/%2e%2e/alice/./open")).toEqual(ALICE);
    expect(outcome(read("/v1/demo/account/../open"))).not.toBe("taken");
    expect(outcome(read("/v1/demo/account/%2E%2E/open"))).not.toBe("taken");
  });

  test("what is read is the whole path", () => {
    const anySegment = fc.string({ unit: fc.constantFrom(..."aZ0_.-~:@%2f/\\*"), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(anySegment, { minLength: 3, maxLength: 6 }), (segments) => {
        const url = new URL(`http://gate.example/v1/${segments.join("/")}`);
        const target = readTarget(url);
        if (isRefusal(target)) return;
        const { tenant, type, id, message } = target;
        expect(url.pathname).toBe(`/v1/${tenant}/${type}/${id}${message === undefined ? "" : `/${message}`}`);
      }),
      { numRuns: 3000 },
    );
  });
});
