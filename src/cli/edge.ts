/** `postern edge`: builds an edge node's worker, gives it the key rings of its tenants, and takes them back. */
import { EDGE_NAME } from "../names.ts";
import { type Command, DEFAULT_STORE, flag, text, texts, UsageProblem } from "./command.ts";
import { edgeBuild } from "./edge-build.ts";
import { edgeAdmit, edgeList, edgeWithdraw } from "./edge-rings.ts";

export const edge: Command = {
  name: "edge",
  summary: "build an edge node for Cloudflare Workers, admit it to tenants, cut it off",
  usage:
    "build NAME --authority HOST … [--policies DIRECTORY] [--bucket NAME] [--out DIRECTORY] | " +
    "admit NAME --key-file FILE [--tenant NAME] … | list | remove NAME | revoke NAME",
  positionals: 2,
  options: {
    authority: { type: "string", multiple: true },
    tenant: { type: "string", multiple: true },
    policies: { type: "string" },
    wasm: { type: "string" },
    bucket: { type: "string" },
    "client-address": { type: "string" },
    loader: { type: "boolean" },
    local: { type: "boolean" },
    out: { type: "string" },
    "key-file": { type: "string" },
    store: { type: "string" },
  },
  help: {
    authority: "build: under which host callers address it; its nodes need the same `--authority`",
    tenant:
      "build, admit: one of its tenants (default: all of the policies, all of the store); may be repeated",
    policies: "build: where the policies are (default policies)",
    wasm: "build: where the built handlers are (default: wasm beside the policies)",
    bucket: "build: the R2 bucket that is bound to it (default postern)",
    "client-address":
      "build: the field with the caller's address (default cf-connecting-ip; `none` believes none)",
    loader: "build: bind a Worker Loader, for handlers that are published later",
    local:
      "build: to try it with `wrangler dev`, whose bucket nodes of this machine then reach below /cdn-cgi/local/r2/s3, as `local`",
    out: "build: the directory to write (default .postern/edge/NAME)",
    "key-file":
      "admit: the file with the node's key; a new one is made (mode 0600) where there is none. It is the worker's secret POSTERN_EDGE_KEY",
    store: `build: where the node finds its store, r2:PREFIX or s3://BUCKET/PREFIX (default r2:); else the store (default ${DEFAULT_STORE})`,
  },
  async run(environment, values, [verb = "", name = ""]) {
    if (verb === "list") return name === "" ? edgeList(environment, values) : wrong();
    if (!EDGE_NAME.test(name)) return wrong();
    switch (verb) {
      case "build":
        return edgeBuild({
          name,
          authorities: texts(values, "authority"),
          tenants: texts(values, "tenant"),
          policies: text(values, "policies") ?? "policies",
          wasm: text(values, "wasm"),
          store: text(values, "store") ?? "r2:",
          bucket: text(values, "bucket") ?? "postern",
          addressField: text(values, "client-address") ?? "cf-connecting-ip",
          loader: flag(values, "loader"),
          isLocal: flag(values, "local"),
          out: text(values, "out") ?? `.postern/edge/${name}`,
        });
      case "admit":
        return edgeAdmit(environment, values, name);
      case "remove":
      case "revoke":
        return edgeWithdraw(environment, values, name, verb);
      default:
        return wrong();
    }
  },
};

function wrong(): UsageProblem {
  return new UsageProblem("give build, admit, remove or revoke and the edge node's name; or list");
}
