/**
 * The little XML that S3 answers with, read strictly: elements and text, nothing else.
 *
 * A general parser brings document types, entities and objects keyed by what a server sends; two shapes of answer
 * need none of it. Whatever is not plain elements around text is `undefined`, never a guess.
 */

/** The texts of the elements without children, by path (`Error/Code`), in the document's order. */
export type Leaves = ReadonlyMap<string, readonly string[]>;

/** S3 nests four deep. */
const DEPTH_MAX = 8;

const DECLARATION = /^\uFEFF?(?:<\?xml[^<>]*\?>)?/;
const TOKEN = /<\/([\w.:-]+)\s*>|<([\w.:-]+)(?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(\/?)>|([^<]+)/y;

interface Open {
  readonly path: string;
  text: string;
  hasChildren: boolean;
}

export function readXml(document: string): Leaves | undefined {
  const leaves = new Map<string, string[]>();
  const stack: Open[] = [];
  TOKEN.lastIndex = DECLARATION.exec(document)?.[0].length ?? 0;
  let roots = 0;
  while (TOKEN.lastIndex < document.length) {
    const token = TOKEN.exec(document);
    if (token === null) return undefined;
    const [, closed, opened, empty, text = ""] = token;
    const parent = stack.at(-1);
    if (opened !== undefined) {
      if (stack.length >= DEPTH_MAX || (parent === undefined && roots++ > 0)) return undefined;
      if (parent !== undefined) parent.hasChildren = true;
      const path = parent === undefined ? opened : `${parent.path}/${opened}`;
      stack.push({ path, text: "", hasChildren: false });
    }
    if (closed !== undefined || empty === "/") {
      const element = stack.pop();
      if (element === undefined || !close(element, closed, leaves)) return undefined;
    }
    if (parent !== undefined) parent.text += text;
    else if (text.trim() !== "") return undefined;
  }
  return stack.length === 0 && roots === 1 ? leaves : undefined;
}

/** @returns whether the element is well formed. */
function close(element: Open, name: string | undefined, leaves: Map<string, string[]>): boolean {
  const { path, text, hasChildren } = element;
  if (name !== undefined && path !== name && !path.endsWith(`/${name}`)) return false;
  if (hasChildren) return text.trim() === "";
  const plain = unescape(text);
  if (plain === undefined) return false;
  const known = leaves.get(path);
  if (known === undefined) leaves.set(path, [plain]);
  else known.push(plain);
  return true;
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["amp", "&"],
  ["quot", '"'],
  ["apos", "'"],
]);

function unescape(text: string): string | undefined {
  let broken = false;
  const plain = text.replace(/&([^;&]{0,8};)?/g, (_all, reference: string | undefined) => {
    const name = reference?.slice(0, -1) ?? "";
    const [, decimal, hex] = /^#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}))$/.exec(name) ?? [];
    const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal);
    const character = code <= 0x10ffff ? String.fromCodePoint(code) : ENTITIES.get(name);
    broken ||= character === undefined;
    return character ?? "";
  });
  return broken ? undefined : plain;
}
