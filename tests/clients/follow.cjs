// What the two EventSource clients for Node.js have in common. Prints one line of JSON
// for each thing that happens, and ends when its standard input does.
//
//   {"client", "version"}    once, first
//   {"open": true}           the stream has begun
//   {"error": readyState}    it was lost (0: comes back by itself, 2: gives up)
//   {"type", "data", "id"}   an event
"use strict";

const print = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

function follow(EventSource, client, version, url) {
  print({ client, version });
  const source = new EventSource(url);
  source.addEventListener("open", () => print({ open: true }));
  source.addEventListener("error", () => print({ error: source.readyState }));
  for (const type of ["message", "gap", "tick"]) {
    source.addEventListener(type, ({ data, lastEventId }) =>
      print({ type, data, id: lastEventId }),
    );
  }
  endWithStdin(() => {});
}

function endWithStdin(before) {
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await before();
    process.exit(0);
  });
}

// With what a Chromium is started that is alone, as root, and asks nobody but us.
const CHROMIUM = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

module.exports = { CHROMIUM, endWithStdin, follow, print };
