// Takes a picture of the page of each demo, for the README of the examples; or of all that
// a page can look like, to look at: narrow and wide, light and dark, from top to bottom.
//
//   pictures.cjs PROGRAM EXAMPLES DIR docs|look NAME...
//
// Run by tests/pictures.
"use strict";

const { spawn } = require("node:child_process");
const { mkdirSync, writeFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { chromium } = require("playwright-core");

const [, , executablePath, examples, directory, purpose, ...names] = process.argv;

// What is to be seen of each: the arguments of its demo, what happens in the page, what is
// waited for (else three seconds), and how wide and, at most, how high its picture is.
const PAGES = {
  random: { args: ["--every", "50"], size: [800, 800] },
  fibonacci: {
    args: ["--every", "20"],
    until: () => document.querySelectorAll("#list li").length > 90,
    size: [800, 800],
  },
  websocket: {
    args: ["--every", "50"],
    act: cutAndResume,
    until: () => agree(),
    size: [1000, 1000],
  },
  chat: { args: [], act: talk, size: [1000, 1000] },
  form: { args: ["--events", "127.0.0.1:0"], act: post, size: [800, 1200] },
  document: { args: ["--events", "127.0.0.1:0"], act: discuss, size: [1000, 1200] },
  weather: { args: ["--source", "sample", "--every", "1"], size: [1280, 1280] },
  dashboard: { args: [], act: fallBehind, size: [1280, 1280] },
};

// The most that a picture in the repository takes, and how well it may be made.
const MOST = 60 * 1024;
const QUALITIES = [80, 65, 50, 35];

async function cutAndResume(page) {
  await page.evaluate(() => {
    window.agree = () => document.querySelector("#check").textContent === "both agree";
  });
  await page.waitForFunction(() => agree());
  await page.click("#ws .cut");
  await page.waitForTimeout(1500);
  await page.fill("#text", "hello, both");
  await page.click("#ws .cut");
  await page.waitForFunction(() => agree() && !document.querySelector("#send").disabled);
  await page.click("#send");
}

async function talk(page) {
  await page.evaluate(async () => {
    const said = [
      ["lobby", "ann", "Is the garden open?"],
      ["garden", "bob", "It is. Bring a chair."],
      ["lobby", "ann", "On my way <3"],
      ["garden", "bob", "Two rooms, one connection, one id."],
      ["garden", "cleo", "Cut me off and I miss nothing:\nwhat was said comes when I am back."],
      ["lobby", "dan", "Anybody still here?"],
    ];
    for (const [room, who, text] of said) {
      await fetch(`/topics/${room}`, { method: "POST", body: `${who}: ${text}` });
    }
  });
  await page.waitForFunction(() => document.querySelectorAll("#messages li").length >= 6);
}

async function post(page) {
  await page.waitForFunction(() => document.querySelector("#state").textContent === "live");
  await page.evaluate(async () => {
    const said = [
      ["ann", "Does this still work without a framework?"],
      ["bob", "A form, a thread, and one call of submit."],
      ["eve", '<script>alert("hello")</script>'],
      ["bob", "Nice try. Text is text."],
    ];
    for (const [name, text] of said) {
      await fetch("/", { method: "POST", body: new URLSearchParams({ name, text }) });
    }
  });
  await page.fill("#name", "ann");
  await page.fill("#text", "Three lines,\none event,\nevery page.");
  await page.click("#post button");
  await page.waitForFunction(() => document.querySelectorAll("#posts li").length >= 5);
}

async function discuss(page) {
  await page.waitForFunction(() => document.querySelector("#state").textContent === "live");
  await page.evaluate(async () => {
    const said = [
      ["ann", "Where does this go when Redis is down?"],
      ["bob", "Into the app's file first. It is published when Redis is back, in this order."],
      ["eve", '<script>alert("hello")</script>'],
      ["bob", "Still text.\nAnd still once, however often it is sent."],
    ];
    for (const [name, text] of said) {
      const body = new URLSearchParams({ name, text });
      await fetch("/pages/welcome/comments", { method: "POST", body, redirect: "manual" });
    }
  });
  await page.waitForFunction(() => document.querySelectorAll("#comments li").length >= 4);
  await page.fill("#name", "ann");
  await page.fill("#say", "I have nothing to add, so I add this.");
}

async function fallBehind(page) {
  const set = (rate) => page.evaluate((body) => fetch("/rate", { method: "POST", body }), rate);
  const wait = (seconds) => page.waitForTimeout(seconds * 1000);
  await page.click("#add");
  await wait(4);
  await set("200");
  await wait(5);
  await page.click("#add");
  await set("500");
  await wait(4);
  await set("200");
  await page.click("#cut");
  await wait(7);
  await page.click("#cut");
  await page.click("#clients li:first-child .toggle");
  await wait(2);
  await set("100");
  await page.click("#add");
  await wait(7);
}

// Starts a demo, and tells where its page is.
function start(name, args) {
  const demo = spawn(`${examples}/${name}`, ["--listen", "127.0.0.1:0", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    demo.on("error", reject);
    demo.on("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
    createInterface({ input: demo.stdout }).once("line", (line) =>
      resolve({ demo, url: line.replace("listening on ", "") }),
    );
  });
}

async function take(browser, name, [width, height], colorScheme) {
  const { args, act, until } = PAGES[name];
  const { demo, url } = await start(name, args);
  try {
    const page = await browser.newPage({
      viewport: { width, height },
      colorScheme,
      reducedMotion: "reduce",
    });
    page.on("pageerror", (error) => console.error(`${name}: ${error}`));
    await page.goto(url);
    if (act) await act(page);
    if (until) await page.waitForFunction(until);
    else await page.waitForTimeout(3000);
    const dark = colorScheme === "dark" ? "-dark" : "";
    if (purpose === "look") {
      const path = `${directory}/${name}-${width}${dark}.png`;
      await page.screenshot({ path, fullPage: true });
      console.log(path);
    } else {
      // Not what is below the page.
      const end = await page.evaluate(() => document.querySelector("main").offsetHeight);
      await page.setViewportSize({ width, height: Math.min(end, height) });
      // Playwright knows no WebP, the browser does.
      const session = await page.context().newCDPSession(page);
      let picture;
      for (const quality of QUALITIES) {
        const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality });
        picture = Buffer.from(data, "base64");
        if (picture.length <= MOST) break;
      }
      const path = `${directory}/${name}${dark}.webp`;
      writeFileSync(path, picture);
      console.log(`${path}: ${Math.ceil(picture.length / 1024)} KiB`);
    }
    await page.close();
  } finally {
    demo.removeAllListeners("exit");
    demo.kill();
  }
}

async function main() {
  const unknown = names.find((name) => !PAGES[name]);
  if (unknown) throw new Error(`there is no ${unknown}; there are ${Object.keys(PAGES)}`);
  mkdirSync(directory, { recursive: true });
  const args = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"];
  const browser = await chromium.launch({ executablePath, args });
  for (const name of names) {
    const { size } = PAGES[name];
    for (const seen of purpose === "look" ? [[375, 812], [1280, 800]] : [size]) {
      for (const scheme of ["light", "dark"]) await take(browser, name, seen, scheme);
    }
  }
  await browser.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
