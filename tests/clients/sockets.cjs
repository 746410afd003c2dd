// WebSockets in Node.js: those of the npm package `ws`, or Node's own, which are those of
// the npm package `undici`; that takes their place where Node.js is too old. Prints what
// `speak.js` reports, and reads {"say": text} and {"close": true} in lines.
//
//   sockets.cjs ws|node URL
"use strict";

const { createInterface } = require("node:readline");
const { endWithStdin, print } = require("./follow.cjs");
const { speak } = require("./speak.js");
const { dependencies } = require("./package.json");

const [, , which, url] = process.argv;

let WebSocket;
if (which === "ws") {
  print({ client: "npm ws", version: dependencies.ws });
  ({ WebSocket } = require("ws"));
} else if (globalThis.WebSocket) {
  const version = `${process.versions.node} (undici ${process.versions.undici})`;
  print({ client: "Node.js", version });
  ({ WebSocket } = globalThis);
} else {
  const version = `${dependencies.undici} on Node.js ${process.versions.node}`;
  print({ client: "npm undici", version });
  ({ WebSocket } = require("undici"));
}

const speaker = speak(WebSocket, print, "ws", url);
createInterface({ input: process.stdin }).on("line", (line) => {
  const { say, close } = JSON.parse(line);
  if (say !== undefined) speaker.say(say);
  if (close) speaker.close();
});
endWithStdin(() => {});
