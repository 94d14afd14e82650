import { Console } from "node:console";
import { Writable } from "node:stream";
import { format, inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { Secret } from "../src/secret.ts";

const TEXT = "correct horse battery";
const secret = new Secret(utf8(TEXT));
const nested = {
  key: secret,
  list: [secret],
  map: new Map([["a", secret]]),
  deep: { er: { est: { s: secret } } },
};

function logged(log: (console: Console) => void): string {
  let text = "";
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  log(new Console({ stdout, stderr: stdout }));
  return text;
}

describe("law 7: a secret is no data", () => {
  test.each([
    ["String()", String(secret)],
    ["a template", `${secret}`],
    ["joined to text", "" + (secret as unknown as string)],
    ["joined in a list", [secret].join()],
    ["JSON.stringify", JSON.stringify(secret).slice(1, -1)],
    ["util.inspect", inspect(secret)],
    ["util.format %s", format("%s", secret)],
    ["util.format %o", format("%o", secret)],
    ["util.format %j", format("%j", secret).slice(1, -1)],
    ["console.log", logged((console) => console.log(secret)).trimEnd()],
    ["console.error in text", logged((console) => console.error("%s", secret)).trimEnd()],
  ])("%s shows [secret]", (_, shown) => {
    expect(shown).toBe("[secret]");
  });

  test.each([
    ["JSON.stringify", JSON.stringify(nested)],
    ["util.inspect", inspect(nested, { depth: null })],
    [
      "util.inspect with hidden properties",
      inspect(nested, { depth: null, showHidden: true, getters: true }),
    ],
    ["util.inspect without custom inspection", inspect(nested, { depth: null, customInspect: false })],
    ["console.log", logged((console) => console.log(nested))],
    ["console.dir", logged((console) => console.dir(nested, { depth: null, showHidden: true }))],
    ["console.table", logged((console) => console.table([nested]))],
    ["an error's cause", inspect(new Error("failed", { cause: nested }))],
    ["structuredClone", inspect(structuredClone({ secret }), { showHidden: true })],
    ["Object.assign", inspect({ ...secret, entries: Object.entries(secret), keys: Reflect.ownKeys(secret) })],
  ])("inside other values, %s does not show it", (_, shown) => {
    const spellings = [TEXT, Buffer.from(TEXT).toString("hex"), Buffer.from(TEXT).toString("base64")];
    for (const spelling of [...spellings, utf8(TEXT).join(","), utf8(TEXT).join(", ")])
      expect(shown).not.toContain(spelling);
    expect(shown).not.toContain("99, 111, 114");
  });
});

describe("expose", () => {
  test("gives the bytes", () => {
    expect(secret.expose()).toEqual(utf8(TEXT));
  });

  test("is not changed by whoever made it", () => {
    const bytes = utf8(TEXT);
    const copied = new Secret(bytes);
    bytes.fill(0);
    expect(copied.expose()).toEqual(utf8(TEXT));
  });
});
