/** `postern quarantine`: the handlers that no node runs any more, and how one of them is run again. */
import { isRefusal } from "../errors.ts";
import { lift, readQuarantine } from "../quarantine.ts";
import { type Command, DEFAULT_STORE, printable, text, UsageProblem } from "./command.ts";
import { openBareStore } from "./inputs.ts";

export const quarantine: Command = {
  name: "quarantine",
  summary: "show handlers that a node had to be killed for, or lift one",
  usage: "[--store URL] [--lift HASH]",
  options: { store: { type: "string" }, lift: { type: "string" } },
  help: {
    store: `the store of the nodes (default ${DEFAULT_STORE})`,
    lift: "run this module again: only where its turns ended late and not never",
  },
  async run(environment, values) {
    const store = openBareStore(environment, values);
    if (store instanceof UsageProblem) return store;
    const hash = text(values, "lift");
    try {
      if (hash === undefined) return await show();
      const lifted = await lift(store, hash, (length) => environment.random(length));
      if (isRefusal(lifted)) return lifted;
      const said = lifted ? "is lifted: nodes run it again within seconds" : "is not in quarantine";
      return { json: { lifted }, text: `${printable(hash)} ${said}`, failed: !lifted };
    } finally {
      await store.close();
    }

    async function show() {
      const handlers = await readQuarantine(store as Exclude<typeof store, UsageProblem>);
      if (isRefusal(handlers)) return handlers;
      const lines = handlers.map(
        ({ hash: of, tenant, since }) => `${of}  ${tenant}  since ${printable(since)}`,
      );
      return { json: { handlers }, text: lines.join("\n") || "no handler is in quarantine" };
    }
  },
};
