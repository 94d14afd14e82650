#!/usr/bin/env node
// Plain JavaScript that every Node can parse: an older one gets a sentence instead of a stack trace.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(`postern needs Node 24 or newer; this is Node ${process.versions.node}.`);
  console.error("In a checkout, `npx postern` and `npm run` use the Node 24 that `npm ci` installs.");
  process.exitCode = 2;
} else {
  // Node strips types outside node_modules only: an installed package runs what `npm run build` made.
  const installed = import.meta.url.includes("/node_modules/");
  // Code compiled once starts in half the time. It is kept among the packages, where only who installed them may write,
  // and not in a folder for everybody; where nobody may, nothing is kept.
  const [{ enableCompileCache }, { fileURLToPath }] = await Promise.all([
    import("node:module"),
    import("node:url"),
  ]);
  const packages = installed ? "../.." : "../node_modules";
  enableCompileCache(fileURLToPath(new URL(`${packages}/.cache/postern`, import.meta.url)));
  const { main } = await import(installed ? "../dist/cli.js" : "./cli.ts");
  process.exitCode = await main(process.argv.slice(2));
}
