// Opens a page in Chromium and prints what it reports, one line of JSON each, as
// `follow.cjs` says. The page subscribes by itself, unless it is a demo's: then the
// script of our page is run in it, and each text that its `#value` shows is printed as
// {"shown": text}, too. Each line of the standard input is run in the page, where also
// `look(width, "light" | "dark")` is there; or, where scripts are off, beside it, with `page`.
//
//   chromium.cjs PROGRAM URL [demo|plain]
"use strict";

const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { chromium } = require("playwright-core");
const { CHROMIUM, endWithStdin, print } = require("./follow.cjs");

const [, , executablePath, url, kind] = process.argv;

async function main() {
  const browser = await chromium.launch({
    executablePath,
    args: CHROMIUM,
  });
  endWithStdin(async () => {
    await working;
    await browser.close();
  });
  print({ client: "Chromium", version: browser.version() });

  const page = await browser.newPage({ javaScriptEnabled: kind !== "plain" });
  page.on("pageerror", (error) => console.error(`page: ${error}`));
  if (kind === "plain") {
    await page.goto(url);
    return { evaluate: (line) => new Function("page", "report", `return ${line}`)(page, print) };
  }
  await page.exposeFunction("report", print);
  await page.exposeFunction("look", async (width, colorScheme) => {
    await page.setViewportSize({ width, height: 800 });
    // Without it, colours are still on their way.
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  });
  await page.goto(url);
  if (kind === "demo") {
    await page.evaluate(() => {
      const value = document.querySelector("#value");
      const show = () => report({ shown: value.textContent });
      new MutationObserver(show).observe(value, {
        characterData: true,
        childList: true,
        subtree: true,
      });
      show();
    });
    await page.evaluate(readFileSync(`${__dirname}/page.js`, "utf8"));
  }
  return page;
}

const failed = (error) => {
  console.error(error);
  process.exit(1);
};

const loaded = main();
// One script after the other, all of them before the end.
let working = loaded.catch(failed);
createInterface({ input: process.stdin }).on("line", (line) => {
  working = working.then(async () => (await loaded).evaluate(line)).catch(failed);
});
