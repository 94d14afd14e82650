/** An edge node that is set up wrongly answers nothing, and says why without repeating a value. */
import { describe, expect, it } from "vitest";
import { type Bindings, readSettings } from "../../src/edge/settings.ts";
import { edgeWorker } from "../../src/worker.ts";

const BUCKET = { get: () => {}, put: () => {}, delete: () => {}, list: () => {} };
const RIGHT: Bindings = {
  POSTERN_EDGE: "fra",
  POSTERN_EDGE_KEY: "0a".repeat(32),
  POSTERN_TENANTS: "acme, other",
  POSTERN_AUTHORITIES: "gate.example,127.0.0.1:8787",
  POSTERN_STORE: "r2:",
  STORE: BUCKET,
};
const S3 = {
  POSTERN_STORE: "s3://bucket/p?endpoint=https://s3.example",
  AWS_ACCESS_KEY_ID: "id",
  AWS_SECRET_ACCESS_KEY: "very secret",
};

describe("settings", () => {
  it("that are right are read: tenants, hosts, a bucket or S3", () => {
    expect(readSettings(RIGHT)).toMatchObject({
      edge: { name: "fra" },
      tenants: ["acme", "other"],
      authorities: ["gate.example", "127.0.0.1:8787"],
      addressField: undefined,
      store: { kind: "r2", prefix: "" },
      loader: undefined,
    });
    expect(readSettings({ ...RIGHT, POSTERN_STORE: "r2:a/b" })).toMatchObject({ store: { prefix: "a/b/" } });
    const s3 = readSettings({ ...RIGHT, ...S3, AWS_SECRET_ACCESS_KEY: "very-secret" });
    expect(s3).toMatchObject({ store: { kind: "s3", address: { prefix: "p/" } } });
    expect(JSON.stringify(s3)).not.toContain("very-secret");
  });

  it.each([
    [{ POSTERN_EDGE: "Fra" }, "POSTERN_EDGE"],
    [{ POSTERN_EDGE_KEY: "0a".repeat(31) }, "POSTERN_EDGE_KEY"],
    [{ POSTERN_EDGE_KEY: { secret: 1 } }, "POSTERN_EDGE_KEY"],
    [{ POSTERN_TENANTS: "" }, "POSTERN_TENANTS"],
    [{ POSTERN_TENANTS: "acme,Other" }, "POSTERN_TENANTS"],
    [{ POSTERN_AUTHORITIES: "https://gate.example" }, "POSTERN_AUTHORITIES"],
    [{ POSTERN_AUTHORITIES: "GATE.example" }, "POSTERN_AUTHORITIES"],
    [{ POSTERN_CLIENT_ADDRESS: "CF Connecting IP" }, "POSTERN_CLIENT_ADDRESS"],
    [{ STORE: undefined }, "STORE"],
    [{ POSTERN_STORE: "r2:../other" }, "POSTERN_STORE"],
    [{ POSTERN_STORE: "file:.postern" }, "POSTERN_STORE"],
    [{ POSTERN_STORE: S3.POSTERN_STORE }, "AWS_ACCESS_KEY_ID"],
    [S3, "visible ASCII"],
    [{ LOADER: "text" }, "LOADER"],
  ])("%j are refused", (wrong, what) => {
    const said = readSettings({ ...RIGHT, ...wrong });
    expect(said).toContain(what);
    expect(said).not.toContain("very secret");
  });
});

it("a worker without settings refuses everything", async () => {
  const worker = edgeWorker({ handlers: new Map(), loaded: "", compatibilityDate: "2026-11-01" });
  const request = new Request("https://gate.example/v1/acme/thing/1/go", { method: "POST" });
  const response = await worker.fetch(request, {}, { waitUntil: () => {} });
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({
    code: "store_unavailable",
    detail: "the edge node is not set up: POSTERN_EDGE must be the edge node's name",
  });
});
