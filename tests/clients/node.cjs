// Node's own EventSource. It stands behind a flag, which this script adds by starting
// itself once more; where Node.js is too old for the flag, the npm package `undici`
// takes its place, which is the code that Node.js bundles.
"use strict";

const { follow } = require("./follow.cjs");

const FLAG = "--experimental-eventsource";
const url = process.argv[2];

if (globalThis.EventSource) {
  const version = `${process.versions.node} (undici ${process.versions.undici})`;
  follow(globalThis.EventSource, "Node.js", version, url);
} else if (process.allowedNodeEnvironmentFlags.has(FLAG)) {
  const { spawn } = require("node:child_process");
  // The standard input is passed on, so the child ends with it, as we do.
  spawn(process.execPath, [FLAG, __filename, url], { stdio: "inherit" }).on("exit", (code) =>
    process.exit(code ?? 1),
  );
} else {
  const { EventSource } = require("undici");
  const { dependencies } = require("./package.json");
  follow(EventSource, "npm undici", `${dependencies.undici} on Node.js ${process.versions.node}`, url);
}
