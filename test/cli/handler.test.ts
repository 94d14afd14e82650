/** `postern init` and `postern handler`: what they print, what they refuse, and with which exit code. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { answering, guest } from "../dispatch/guests.ts";
import { postern } from "../support/postern.ts";

const root = mkdtempSync(join(tmpdir(), "postern-handler-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(root, name);
  writeFileSync(path, content);
  return path;
}

const good = file("good.wasm", answering('{"reply":{"a":1},"state":[2]}'));
const bad = file(
  "bad.wasm",
  guest("(i64.const 0)", '(global (export "__pn_fuel") (mut i64) (i64.const 1000))'),
);
const turn = file("turn.json", '{"message":"go"}');

describe("handler check", () => {
  it("says what is wrong with which module, and exits with 1", async () => {
    const one = await postern(["handler", "check", bad, "--json"]);
    expect(one.code).toBe(1);
    const problem = {
      code: "export_reserved",
      detail: 'the export "__pn_fuel" is reserved for the gateway: rename it',
    };
    expect(JSON.parse(one.stdout)).toEqual({ ok: false, problems: [problem] });
    const both = await postern(["handler", "check", good, bad]);
    expect(both.code).toBe(1);
    expect(both.stdout).toMatch(
      /good\.wasm: no problems; \d+ bytes, \d+ with metering\n.*bad\.wasm: export_reserved: /,
    );
  });

  it("of nothing, or of no file, is wrong usage", async () => {
    expect((await postern(["handler", "check"])).code).toBe(2);
    expect(await postern(["handler", "check", join(root, "none.wasm")])).toMatchObject({ code: 2 });
    expect((await postern(["handler", "polish", good])).stderr).toContain("one of build, check, run");
  });
});

describe("handler run", () => {
  it("shows reply, state and cost of one turn", async () => {
    const { code, stdout } = await postern(["handler", "run", good, turn]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\{"a":1\}\nstate {2}\[2\]\n\d+ fuel, 65536 bytes of memory, \d+ µs\n$/);
  });

  it("takes the turn from standard input, too", async () => {
    const { stdout } = await postern(["handler", "run", good, "-", "--json"], { stdin: '{"message":"go"}' });
    expect(JSON.parse(stdout)).toMatchObject({ reply: { a: 1 }, state: [2] });
  });

  it("says why a turn ended, and exits with 1", async () => {
    const endless = file("endless.wasm", guest("(loop (br 0)) (i64.const 0)"));
    const { code, stdout } = await postern(["handler", "run", endless, turn, "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: "handler_fuel" },
      time_us: expect.any(Number) as number,
    });
    const refused = await postern(["handler", "run", bad, turn, "--json"]);
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ ok: false, problems: [{ code: "export_reserved" }] });
  });

  it.each([
    ["[]", "holds no JSON object"],
    ["{", "JSON"],
    ["{}", "message must be text"],
    ['{"message":"go","sate":{}}', 'a turn has no "sate"'],
    ['{"message":"go","now":1.5}', "a whole number"],
    ['{"message":"go","seed":"00"}', "32 hex digits"],
    ['{"message":"go","caps":[1]}', "a list of {id, actor"],
    ['{"message":"go","actor":5}', "type/id"],
  ])("takes no turn that is %s", async (document, reason) => {
    const { code, stderr } = await postern(["handler", "run", good, "-"], { stdin: document });
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
  });
});

describe("handler build", () => {
  it("says what the compiler says, and leaves the module of before alone", async () => {
    const folder = join(root, "broken");
    mkdirSync(folder);
    writeFileSync(join(folder, "broken.js"), "export function handle( {");
    writeFileSync(join(folder, "broken.wasm"), "before");
    const { code, stdout } = await postern(["handler", "build", folder, "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      problems: [{ file: folder, code: "build_failed" }],
      built: [],
    });
    expect(readFileSync(join(folder, "broken.wasm"), "utf8")).toBe("before");
    expect((await postern(["handler", "build", join(root, "nowhere")])).code).toBe(2);
  });
});

describe("init", () => {
  it("writes a tenant that apply takes once its handler is built, and says what comes next", async () => {
    const folder = join(root, "new");
    const { stdout } = await postern(["init", folder, "--lang", "javascript", "--tenant", "acme"]);
    expect(stdout.split("\n").slice(1, 3)).toEqual([
      `  postern handler build ${folder}/wasm/counter`,
      `  postern serve --policies ${folder}/policies`,
    ]);
    const early = await postern(["apply", join(folder, "policies"), "--check"]);
    expect(early.code).toBe(1);
    expect(early.stdout).toMatch(
      /counter\.wasm, which is not there; `postern handler build .*wasm\/counter` builds it/,
    );
    await postern(["handler", "build", join(folder, "wasm", "counter")]);
    expect(await postern(["apply", join(folder, "policies"), "--check"])).toMatchObject({
      code: 0,
      stdout: "acme: no problems\n",
    });
  });

  it("overwrites nothing", async () => {
    const folder = join(root, "twice");
    mkdirSync(join(folder, "wasm", "counter"), { recursive: true });
    const { code, stderr } = await postern(["init", folder]);
    expect(code).toBe(2);
    expect(stderr).toContain("is there already; nothing was written");
    expect(existsSync(join(folder, "policies"))).toBe(false);
  });

  it("knows its languages and what a tenant is called", async () => {
    expect((await postern(["init", root, "--lang", "cobol"])).stderr).toContain(
      "assemblyscript, typescript, javascript, c, rust, wat",
    );
    expect((await postern(["init", root, "--tenant", "../x"])).code).toBe(2);
  });
});
