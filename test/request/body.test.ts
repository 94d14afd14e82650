import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../src/bytes.ts";
import { BODY_BYTES_MAX } from "../../src/limits.ts";
import { readBody, refuseAnnounced } from "../../src/request/body.ts";
import { outcome } from "../token/outcome.ts";

function request(body: BodyInit | null, headers: Record<string, string> = {}): Request {
  return new Request("http://gate.example/", {
    method: "POST",
    body,
    headers,
    duplex: "half",
  } as RequestInit);
}

/** A sender that gives one chunk each time it is asked, and remembers how it went. */
function sender(chunks: readonly Uint8Array[], end: "close" | "error" = "close") {
  const seen = { sent: 0, isCancelled: false };
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const chunk = chunks[seen.sent];
        if (chunk !== undefined) {
          seen.sent++;
          controller.enqueue(chunk);
        } else if (end === "close") controller.close();
        else controller.error(new Error("the connection was reset"));
      },
      cancel() {
        seen.isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, seen };
}

const KIB = new Uint8Array(1024).fill(1);

describe("a body", () => {
  test("is what was sent, in however many chunks", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1 }), { maxLength: 6 }), async (chunks) => {
        expect(await readBody(request(sender(chunks).stream))).toEqual(concat(...chunks));
      }),
    );
  });

  test("may be text, or nothing", async () => {
    expect(await readBody(request('{"a":1}'))).toEqual(utf8('{"a":1}'));
    expect(await readBody(request(""))).toEqual(new Uint8Array());
    expect(await readBody(request(null))).toEqual(new Uint8Array());
  });

  test("is read to its last byte, up to the bound", async () => {
    const full = new Uint8Array(BODY_BYTES_MAX).fill(3);
    expect(outcome(await readBody(request(full)))).toBe("taken");
    expect(outcome(await readBody(request(concat(full, Uint8Array.of(1)))))).toBe("too_large");
  });

  test("past the bound, is read no further: the sender is told to stop", async () => {
    const chunks = Array.from({ length: 4096 }, () => KIB);
    const { stream, seen } = sender(chunks);
    expect(outcome(await readBody(request(stream)))).toBe("too_large");
    expect(seen.sent).toBeLessThanOrEqual(BODY_BYTES_MAX / KIB.length + 2);
    expect(seen.isCancelled).toBe(true);
  });

  test("of a declared length past the bound, is not read at all", async () => {
    const { stream, seen } = sender([KIB]);
    const declared = request(stream, { "content-length": String(BODY_BYTES_MAX + 1) });
    expect(refuseAnnounced(declared)).toMatchObject({ code: "too_large" });
    expect(seen.sent).toBe(0);
  });

  test("of a length that is declared too small, is bounded all the same", async () => {
    const { stream } = sender(Array.from({ length: 1025 }, () => KIB));
    expect(outcome(await readBody(request(stream, { "content-length": "10" })))).toBe("too_large");
  });

  test("that stops half way is malformed", async () => {
    const { stream } = sender([KIB, KIB], "error");
    expect(outcome(await readBody(request(stream)))).toBe("malformed_request");
  });

  test("that was read before is malformed, not empty", async () => {
    const used = request("{}");
    await used.text();
    expect(outcome(await readBody(used))).toBe("malformed_request");
  });
});
