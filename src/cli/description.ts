/** What `postern call --describe` shows a person: what may be sent now, and what the rest waits for. */
import type { DescribedMessage, Description } from "../sdk/client.ts";
import { printSchema } from "./schema-types.ts";

export function describedText({ actor, key, exists, behaviour, expires, messages }: Description): string {
  const entries = Object.entries(messages);
  const now = entries.filter(([, { waits_for }]) => waits_for === undefined);
  const later = entries.filter(([, { waits_for }]) => waits_for !== undefined);
  const begun = behaviour === undefined ? "has begun" : `has become ${behaviour}`;
  const head = `${actor} ${exists ? begun : "has not begun"}; the token expires ${expires ?? "never"}`;
  return [
    head,
    `key    ${key}`,
    ...(now.length === 0 ? ["now    nothing"] : now.map((entry) => `now    ${signature(...entry)}`)),
    ...later.map((entry) => `later  ${signature(...entry)}\n       waits for ${waitsFor(entry[1])}`),
  ].join("\n");
}

function signature(name: string, { args, result }: DescribedMessage): string {
  const parameter = typeOf(args);
  return `${name}(${parameter === NO_MEMBERS ? "" : parameter}): ${typeOf(result)}`;
}

/** How a type without members is printed. */
const NO_MEMBERS = "Record<string, never>";

/** A type on one line; the schemas themselves are for `--json`. */
function typeOf(schema: DescribedMessage["args"]): string {
  const { type, aliases } = printSchema(schema, "Part");
  return aliases.length === 0 ? type.replace(/\s+/g, " ").replaceAll("readonly ", "") : "Json";
}

function waitsFor({ waits_for: by = {} }: DescribedMessage): string {
  const caveats = (by.caveats ?? []).map(({ index, text }) => `caveat ${index} (${text})`);
  return [...(by.behaviour === true ? ["the actor's behaviour"] : []), ...caveats].join(", ");
}
