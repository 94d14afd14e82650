/** `postern apply`: validates policies and handlers, and publishes them. */
import { isRefusal } from "../errors.ts";
import { type Command, DEFAULT_STORE, flag, text, UsageProblem } from "./command.ts";
import { openStore } from "./inputs.ts";
import { folderFailed, publishAll, readPolicyFolder } from "./policy-folder.ts";

export const apply: Command = {
  name: "apply",
  summary: "validate and publish policies and handlers",
  usage: "[DIRECTORY] [--check] [--store URL] [--wasm DIRECTORY]",
  positionals: 1,
  options: { check: { type: "boolean" }, store: { type: "string" }, wasm: { type: "string" } },
  help: {
    check: "validate only; publish nothing, open no store",
    store: `where to publish: file:DIRECTORY or s3://BUCKET/PREFIX (default ${DEFAULT_STORE})`,
    wasm: "where the built handlers are (default: wasm beside the policies)",
  },
  async run(environment, values, [directory = "policies"]) {
    const folder = await readPolicyFolder(directory, text(values, "wasm"));
    if (folder instanceof UsageProblem) return folder;
    if (!folder.ok) return folderFailed(folder.problems);
    const tenants = folder.tenants.map(({ policy }) => policy.tenant);
    if (flag(values, "check"))
      return { json: { ok: true, problems: [], tenants }, text: `${tenants.join(", ")}: no problems` };

    const opened = await openStore(environment, values, "publish");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    try {
      const changed = await publishAll(folder.tenants, opened, (length) => environment.random(length));
      if (isRefusal(changed)) return changed;
      const lines = tenants.map(
        (tenant) => `${tenant}: ${changed.includes(tenant) ? "published" : "unchanged"}`,
      );
      return { json: { ok: true, problems: [], tenants, changed }, text: lines.join("\n") };
    } finally {
      await opened.store.close();
    }
  },
};
