/**
 * The JSON-Schema-Test-Suite, draft 2020-12, as Debian packages it (Test::JSON::Schema::Acceptance carries it).
 *
 * Every file is either run or named below with the reason why not; in a file that is run, every group is either run
 * to the letter or named with the refusal that it gets. Where the package is not installed the suite is left out
 * and the run says so.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/json.ts";
import { compileSchema } from "../../src/protocol/schema.ts";

const PACKAGE = "libtest-json-schema-acceptance-perl";
const SUITE = "/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12";

interface Group {
  readonly description: string;
  readonly schema: Json;
  readonly tests: readonly { readonly description: string; readonly data: Json; readonly valid: boolean }[];
}

/** Of the optional tests, those about what every implementation must decide one way or the other. */
const OPTIONAL = ["bignum", "float-overflow", "no-schema"].map((name) => `optional/${name}.json`);

const LEFT_OUT: Readonly<Record<string, string>> = {
  "content.json": "content* only describe; refused",
  "dynamicRef.json": "$dynamicRef is refused",
  "format.json": "format only describes; refused",
  "pattern.json": "pattern is refused",
  "patternProperties.json": "patternProperties is refused",
  "refRemote.json": "a schema refers to its own document only",
  "unevaluatedItems.json": "unevaluatedItems is refused",
  "unevaluatedProperties.json": "unevaluatedProperties is refused",
  "vocabulary.json": "other drafts and vocabularies are refused",
};

const UNSUPPORTED = /^(at \S+: )?(patternProperties|unevaluatedProperties) is not supported/;
const FOREIGN = /^(at \S+: )?\$ref must begin with #/;
const NESTED_ID = /^at \S+: \$id may only stand at the schema's root/;
const ALONE = /means nothing without/;

/** Groups of files that are run, and how their schemas are refused. */
const REFUSED: readonly (readonly [file: string, description: string, refusal: RegExp])[] = [
  ["additionalProperties", "additionalProperties being false does not allow other properties", UNSUPPORTED],
  ["additionalProperties", "non-ASCII pattern with additionalProperties", UNSUPPORTED],
  ["anchor", "Location-independent identifier with absolute URI", FOREIGN],
  ["anchor", "Location-independent identifier with base URI change in subschema", FOREIGN],
  ["anchor", "same $anchor with different base uri", NESTED_ID],
  ["anchor", "invalid anchors", FOREIGN],
  ["defs", "validate definition against metaschema", FOREIGN],
  ["id", "Invalid use of fragments in location-independent $id", FOREIGN],
  ["id", "Valid use of empty fragments in location-independent $id", FOREIGN],
  ["id", "Unnormalized $ids are allowed but discouraged", FOREIGN],
  ["id", "$id inside an enum is not a real identifier", NESTED_ID],
  ["if-then-else", "ignore then without if", ALONE],
  ["if-then-else", "ignore else without if", ALONE],
  ["if-then-else", "non-interference across combined schemas", ALONE],
  ["maxContains", "maxContains without contains is ignored", ALONE],
  ["minContains", "minContains without contains is ignored", ALONE],
  ["not", "collect annotations inside a 'not', even if collection is disabled", UNSUPPORTED],
  ["properties", "properties, patternProperties, additionalProperties interaction", UNSUPPORTED],
  ["ref", "remote ref, containing refs itself", FOREIGN],
  ["ref", "Recursive references between schemas", FOREIGN],
  ["ref", "ref creates new scope when adjacent to keywords", UNSUPPORTED],
  ["ref", "refs with relative uris and defs", NESTED_ID],
  ["ref", "relative refs with absolute uris and defs", NESTED_ID],
  ["ref", "$id must be resolved against nearest parent, not just immediate parent", NESTED_ID],
  ["ref", "order of evaluation: $id and $ref", FOREIGN],
  ["ref", "order of evaluation: $id and $anchor and $ref", NESTED_ID],
  ["ref", "simple URN base URI with $ref via the URN", FOREIGN],
  ["ref", "URN base URI with f-component", FOREIGN],
  ["ref", "URN base URI with URN and JSON pointer ref", FOREIGN],
  ["ref", "URN base URI with URN and anchor ref", FOREIGN],
  ["ref", "URN ref with nested pointer ref", FOREIGN],
  ["ref", "ref to if", FOREIGN],
  ["ref", "ref to then", FOREIGN],
  ["ref", "ref to else", FOREIGN],
  ["ref", "ref with absolute-path-reference", NESTED_ID],
  ["unknownKeyword", "$id inside an unknown keyword is not a real identifier", /unknown keyword/],
];

const installed = existsSync(SUITE);
if (!installed)
  process.stderr.write(
    `LEFT OUT: the JSON-Schema-Test-Suite is not installed. \`apt-get install --no-install-recommends ${PACKAGE}\` brings it\n`,
  );

const required = installed ? readdirSync(SUITE).filter((name) => name.endsWith(".json")) : [];
const files = [...required.filter((name) => LEFT_OUT[name] === undefined), ...(installed ? OPTIONAL : [])];

function groupsOf(file: string): readonly Group[] {
  return JSON.parse(readFileSync(join(SUITE, file), "utf8")) as readonly Group[];
}

describe.runIf(installed)("the JSON-Schema-Test-Suite", () => {
  describe.each(files)("%s", (file) => {
    it.each(groupsOf(file))("$description", ({ description, schema, tests }) => {
      const check = compileSchema(schema);
      const refused = REFUSED.find(([name, group]) => `${name}.json` === file && group === description);
      if (refused !== undefined) return expect(check).toMatch(refused[2]);
      if (typeof check === "string") return expect.unreachable(check);
      const verdicts = tests.map(({ description: test, data }) => [test, check(data) === undefined]);
      expect(verdicts).toEqual(tests.map(({ description: test, valid }) => [test, valid]));
    });
  });

  it("leaves out nothing that is not there", () => {
    expect(Object.keys(LEFT_OUT).filter((name) => !required.includes(name))).toEqual([]);
    const known = REFUSED.filter(([file, description]) =>
      groupsOf(`${file}.json`).some((group) => group.description === description),
    );
    expect(known).toHaveLength(REFUSED.length);
  });
});
