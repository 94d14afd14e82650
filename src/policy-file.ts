/**
 * One YAML file of a policy: typed access to its values, and problems with the line and column where they stand.
 *
 * Strict: a key twice, an unknown tag and a bomb of aliases are problems. Where a file cannot be read at all, only that
 * is told.
 */
import { type Document, LineCounter, parseDocument } from "yaml";
import type { RefusalFacts } from "./errors.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";

export interface PolicyProblem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  readonly detail: string;
  /** Of an expression that cannot be read, or that admits too much: as the refusal has them. */
  readonly position?: RefusalFacts["position"];
  readonly word?: RefusalFacts["word"];
}

export class PolicyFile {
  readonly name: string;
  readonly #file: string;
  readonly #text: string;
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();
  readonly #problems: PolicyProblem[];
  readonly #root: Json;
  #unreadable = false;

  constructor(file: string, name: string, text: string, problems: PolicyProblem[]) {
    this.name = name;
    this.#file = file;
    this.#text = text;
    this.#problems = problems;
    this.#document = parseDocument(text, { lineCounter: this.#lines, strict: true, uniqueKeys: true });
    for (const error of [...this.#document.errors, ...this.#document.warnings])
      this.#report(error.pos[0], error.message.split("\n")[0] ?? "");
    this.#unreadable = this.#document.errors.length > 0;
    this.#root = this.#unreadable ? {} : this.#toJson();
  }

  #toJson(): Json {
    try {
      // Aliases are welcome; a hundred expansions are not a policy, but a bomb.
      return this.#document.toJS({ maxAliasCount: 100 }) as Json;
    } catch (error) {
      this.#report(0, error instanceof Error ? error.message : "the document cannot be read");
      this.#unreadable = true;
      return {};
    }
  }

  /** The mapping at a path; only `allowed` keys may stand in it, all `required` ones must. */
  object(path: readonly string[], allowed?: readonly string[], required: readonly string[] = []): JsonObject {
    let value: Json | undefined = this.#root;
    for (const key of path) value = isJsonObject(value) ? value[key] : undefined;
    if (!isJsonObject(value)) {
      this.problem(path, `${path.at(-1) ?? "the file"} must be a mapping`);
      if (path.length === 0) this.#unreadable = true;
      return {};
    }
    for (const key of Object.keys(value)) {
      if (allowed !== undefined && !allowed.includes(key))
        this.problem([...path, key], `unknown key ${JSON.stringify(key)}; known here: ${allowed.join(", ")}`);
    }
    for (const key of required) {
      if (!Object.hasOwn(value, key)) this.problem(path, `${key} is missing`);
    }
    return value;
  }

  text(parent: JsonObject, path: readonly string[], shape?: RegExp): string {
    const key = path.at(-1) ?? "";
    const value = parent[key];
    if (typeof value === "string" && (shape === undefined || shape.test(value))) return value;
    if (value !== undefined)
      this.problem(path, `${key} must be text${shape === undefined ? "" : ` of the form ${shape.source}`}`);
    return "";
  }

  problem(
    path: readonly string[],
    detail: string,
    { position, word }: Pick<RefusalFacts, "position" | "word"> = {},
  ): void {
    // Where the file cannot be read, every later complaint is noise.
    if (this.#unreadable) return;
    const inside = position === undefined ? 0 : this.#insetOf(path, position.column - 1);
    const facts = { ...(position !== undefined && { position }), ...(word !== undefined && { word }) };
    this.#report(this.#offsetOf(path) + inside, detail, facts);
  }

  /** Where the value at a path stands, or the nearest one around it: behind an alias nothing has a place here. */
  #offsetOf(path: readonly string[]): number {
    const range = this.#nodeAt(path)?.range;
    if (range?.[0] !== undefined) return range[0];
    return path.length === 0 ? 0 : this.#offsetOf(path.slice(0, -1));
  }

  /** How far into its source a text's character stands; 0 where the file does not show the text as it is. */
  #insetOf(path: readonly string[], index: number): number {
    const { range, value } = this.#nodeAt(path) ?? {};
    if (range?.[0] === undefined || typeof value !== "string") return 0;
    const quotes = /^["']/.test(this.#text.slice(range[0])) ? 1 : 0;
    const shown = this.#text.startsWith(value, range[0] + quotes);
    return shown ? quotes + Math.min(index, value.length) : 0;
  }

  #nodeAt(path: readonly string[]): SourceNode | undefined {
    const node = path.length === 0 ? this.#document.contents : this.#document.getIn(path, true);
    return node ?? undefined;
  }

  #report(offset: number, detail: string, facts: Pick<PolicyProblem, "position" | "word"> = {}): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#problems.push({
      file: this.#file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      detail,
      ...facts,
    });
  }
}

/** What is used of a YAML node: start and ends in the file, and the value of a scalar. */
interface SourceNode {
  readonly range?: readonly number[];
  readonly value?: unknown;
}
