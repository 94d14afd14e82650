/**
 * The other sides of the HTTP rows, each in a process of its own: `node bench/servers.ts echo|naive …`.
 *
 * `echo` is Hono on Node with nothing behind it: what any gateway written with it must stay below. `naive` is what
 * one writes in an afternoon from the named packages, to take the same requests: macaroons.js, noble's Schnorr and
 * a fresh instance of the same handler; without durability, fuel, order of messages, replay window, schemas or
 * bounds. It is written to be fast where that is as easy as slow.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { serve } from "@hono/node-server";
import { schnorr } from "@noble/curves/secp256k1.js";
import { type Context, Hono } from "hono";
import macaroons from "macaroons.js";

const HTTP_SIGNATURE_TAG = "postern/http-signature/v1";

function echo(): Hono {
  const app = new Hono();
  app.post("/echo", async (c) => c.json(await c.req.json()));
  return app;
}

/** @param secret of the macaroons  @param wasm the handler as built, without any instrumentation */
function naive(secret: string, wasm: string): Hono {
  const module = new WebAssembly.Module(readFileSync(wasm));
  const states = new Map<string, unknown>();
  const app = new Hono();
  app.post("/v1/:tenant/:type/:id/:message", async (c) => {
    const { type, id, message } = c.req.param();
    const actor = `${type}/${id}`;
    const body = Buffer.from(await c.req.arrayBuffer());
    const signer = signerOf(c, body);
    if (signer === undefined) return c.json({ error: "signature" }, 401);
    if (!allowed(c, secret, actor, message, signer)) return c.json({ error: "token" }, 401);
    const args: unknown = JSON.parse(body.toString());
    const seed = "00112233445566778899aabbccddeeff";
    const turn = { state: states.get(actor) ?? null, message, args, caps: [], now: Date.now(), seed, actor };
    const outcome = runHandler(module, turn);
    if (outcome.error !== undefined) return c.json(outcome.error, 422);
    if (outcome.state !== undefined) states.set(actor, outcome.state);
    return c.json(outcome.reply as object);
  });
  return app;
}

/** The key that signed the request, by its Signature-Input and Signature (RFC 9421). */
function signerOf(c: Context, body: Buffer): string | undefined {
  const digest = createHash("sha256").update(body).digest("base64");
  if (c.req.header("content-digest") !== `sha-256=:${digest}:`) return undefined;
  const input = c.req.header("signature-input")?.slice("sig=".length) ?? "";
  const signature = c.req.header("signature")?.slice("sig=:".length, -1) ?? "";
  const keyid = /;keyid="([0-9a-f]{64})"/.exec(input)?.[1];
  const expires = Number(/;expires=(\d+)/.exec(input)?.[1]);
  if (keyid === undefined || !(expires > Date.now() / 1000)) return undefined;
  const url = new URL(c.req.url);
  const parts: Record<string, string> = {
    "@method": c.req.method,
    "@authority": url.host,
    "@path": url.pathname,
    "@query": "?",
  };
  const covered = input.slice(1, input.indexOf(")")).split(" ");
  const lines = covered.map((name) => {
    const part = name.slice(1, -1);
    return `${name}: ${parts[part] ?? c.req.header(part)}`;
  });
  lines.push(`"@signature-params": ${input}`);
  const message = schnorr.utils.taggedHash(HTTP_SIGNATURE_TAG, Buffer.from(lines.join("\n")));
  const key = Buffer.from(keyid, "hex");
  return schnorr.verify(Buffer.from(signature, "base64"), message, key) ? keyid : undefined;
}

function allowed(c: Context, secret: string, actor: string, message: string, signer: string): boolean {
  const text = c.req.header("authorization")?.slice("Macaroon ".length) ?? "";
  const verifier = new macaroons.MacaroonsVerifier(macaroons.MacaroonsDeSerializer.deserialize(text))
    .satisfyExact(`actor = ${actor}`)
    .satisfyExact(`holder = ${signer}`)
    .satisfyGeneral((caveat) => caveat.startsWith("expires < ") && Date.parse(caveat.slice(10)) > Date.now())
    .satisfyGeneral(
      (caveat) => caveat.startsWith("message in ") && caveat.slice(11).split(",").includes(message),
    )
    // The order of messages is what no package checks: the caveat is taken as it is.
    .satisfyGeneral((caveat) => caveat.startsWith("protocol = "));
  return verifier.isValid(secret);
}

interface RawHandler {
  readonly memory: WebAssembly.Memory;
  readonly pn_alloc: (size: number) => number;
  readonly pn_handle: (ptr: number, length: number) => bigint;
}

function runHandler(module: WebAssembly.Module, turn: unknown): Record<string, unknown> {
  const handler = new WebAssembly.Instance(module).exports as unknown as RawHandler;
  const input = Buffer.from(JSON.stringify(turn));
  const at = handler.pn_alloc(input.length);
  new Uint8Array(handler.memory.buffer).set(input, at);
  const span = handler.pn_handle(at, input.length);
  const output = Buffer.from(handler.memory.buffer, Number(span >> 32n), Number(span & 0xffff_ffffn));
  return JSON.parse(output.toString()) as Record<string, unknown>;
}

const [kind, secret = "", wasm = ""] = process.argv.slice(2);
const app = kind === "naive" ? naive(secret, wasm) : echo();
const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ event: "listening", url: `http://127.0.0.1:${port}` })}\n`);
});
process.once("SIGINT", () => {
  server.close();
  process.exit();
});
