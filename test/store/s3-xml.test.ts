import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readXml } from "../../src/store/s3-xml.ts";

const escape = (text: string): string =>
  text.replace(/[<>&]/g, (c) => `&#${c.charCodeAt(0)};`).replaceAll('"', "&quot;");

describe("reads", () => {
  test("texts by path, in order, whatever stands between elements", () => {
    const document = `\uFEFF<?xml version="1.0" encoding="UTF-8"?>
      <List xmlns="http://x/?a=&amp;b" a = 'b'>
        <Item><Key>a</Key></Item><Empty/><Item><Key> b&lt;&#x41;&#66;&amp; </Key></Item ><Void></Void>
      </List>\n`;
    expect([...(readXml(document) ?? [])]).toEqual([
      ["List/Item/Key", ["a", " b<AB& "]],
      ["List/Empty", [""]],
      ["List/Void", [""]],
    ]);
  });

  test("every text as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
        const document = `<L>${texts.map((text) => `<K>${escape(text)}</K>`).join("")}</L>`;
        expect(readXml(document)?.get("L/K") ?? (texts.length === 0 ? [] : undefined)).toEqual(texts);
      }),
    );
  });
});

describe("refuses", () => {
  test.each([
    "",
    "text",
    "<a>",
    "</a>",
    "<a></b>",
    "<a/><b/>",
    "<a/>text",
    "text<a/>",
    "<a>x<b/></a>",
    "<a>&unknown;</a>",
    "<a>&</a>",
    "<a>&#x110000;</a>",
    "<a>&constructor;</a>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    "<a><!-- comment --></a>",
    "<a><![CDATA[x]]></a>",
    "<a><?php ?></a>",
    "<a b='<'/>",
    "<a b=c/>",
    "<a><a>".repeat(10),
    `${"<a>".repeat(9)}${"</a>".repeat(9)}`,
    "<a/",
    "<a",
  ])("%j", (document) => {
    expect(readXml(document)).toBeUndefined();
  });

  test("or reads, but never throws and never takes long", () => {
    const pieces = [
      "<a>",
      "</a>",
      "<b/>",
      "<",
      ">",
      "&",
      "&lt;",
      "&#",
      ";",
      "=",
      '"',
      "'",
      " ",
      "x",
      "<?xml ?>",
      "<!--",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces)), (parts) => {
        readXml(parts.join(""));
      }),
    );
    const started = performance.now();
    for (const part of [" ", "<a ", "<a x='1' ", "&", "&#", "x", '<a b="'])
      readXml(`<a>${part.repeat(300_000)}`);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
