// Chromium with tabs that share their storage, as those of one profile do. Each line of the
// standard input is {"act", "tab", "with"}; each line that it prints says in "on" which tab it
// is of, or that an act is done. Pages tell by `report`.
//
//   tabs.cjs PROGRAM
"use strict";

const { createInterface } = require("node:readline");
const { chromium } = require("playwright-core");
const { CHROMIUM, endWithStdin, print } = require("../clients/follow.cjs");

const [, , executablePath] = process.argv;

const launched = chromium
  .launch({
    executablePath,
    // Pages that are left are kept, as they are in every browser.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      ...CHROMIUM,
      // A name that is no local host's, so that its pages are not secure contexts.
      "--host-resolver-rules=MAP insecure.test 127.0.0.1",
    ],
  })
  .then((browser) => browser.newContext());
const pages = new Map();

const acts = {
  async open(tab, url) {
    const page = await (await launched).newPage();
    pages.set(tab, page);
    page.on("pageerror", (error) => print({ on: tab, thrown: `${error}` }));
    await page.exposeFunction("report", (what) => print({ on: tab, ...what }));
    await page.goto(url);
  },
  run: (tab, script) => pages.get(tab).evaluate(script),
  back: (tab) => pages.get(tab).goBack({ waitUntil: "commit", timeout: 10000 }).catch(() => {}),
  close: (tab) => pages.get(tab).close(),
  async crash(tab) {
    const page = pages.get(tab);
    const crashed = page.waitForEvent("crash");
    page.goto("chrome://crash").catch(() => {});
    await crashed;
  },
  async lifecycle(tab, state) {
    const page = pages.get(tab);
    const session = await (await launched).newCDPSession(page);
    await session.send("Page.setWebLifecycleState", { state });
  },
};

const failed = (error) => {
  console.error(error);
  process.exit(1);
};

let working = launched.catch(failed);
createInterface({ input: process.stdin }).on("line", (line) => {
  const { act, tab, with: argument } = JSON.parse(line);
  working = working
    .then(() => acts[act](tab, argument))
    .then(() => print({ on: "driver" }))
    .catch(failed);
});
endWithStdin(async () => {
  await working;
  await (await launched).browser().close();
});
