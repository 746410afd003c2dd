"use strict";

const byId = (id) => document.getElementById(id);
const RATES = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
// Two figures per second.
const POINTS = 120;
const SHOWN = 8;
const REASONS = {
  ahead: (who) => `the server does not know the last event of ${who}`,
  epoch: () => "the server was restarted",
  evicted: (who) => `${who} was away for too long`,
  malformed: (who) => `the server could not read where ${who} was`,
  slow: (who) => `${who} read too slowly`,
};
const numbers = new Intl.NumberFormat("en");
const format = (number) => numbers.format(number);
const count = (number, what) => `${format(number)} ${number === 1 ? what : `${what}s`}`;

function set(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function tellGap(who, { reason, missed }) {
  const many = missed === undefined ? "Events may be missing" : `Missed: ${format(missed)}`;
  return `${many}, because ${REASONS[reason]?.(who) ?? reason} (${reason}).`;
}

// A chart of a few lines over the same time, each of numbers.
class Chart {
  constructor(id, lines, hasLimit = false) {
    const svg = (tag, className) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      made.setAttribute("class", className);
      return made;
    };
    this.top = element("span", "");
    const scale = element("div", "scale");
    scale.append(this.top, element("span", "", "0"));
    scale.ariaHidden = "true";
    const image = svg("svg", "");
    image.setAttribute("viewBox", `0 0 ${POINTS - 1} 1`);
    image.setAttribute("preserveAspectRatio", "none");
    image.setAttribute("role", "img");
    image.setAttribute("aria-labelledby", `${id}-title`);
    const grid = svg("path", "grid");
    grid.setAttribute("d", `M0 0H${POINTS - 1}M0 .5H${POINTS - 1}M0 1H${POINTS - 1}`);
    this.paths = lines.map((className) => svg("path", className));
    this.limit = svg("path", hasLimit ? "limit" : "none");
    image.append(grid, this.limit, ...this.paths);
    byId(id).append(scale, image);
    this.lines = lines.map(() => []);
  }

  // `limit` is a height that is to be seen, too.
  add(values, limit = 1) {
    let most = limit * 1.05;
    this.lines.forEach((line, at) => {
      line.push(values[at]);
      if (line.length > POINTS) line.shift();
      most = Math.max(most, ...line);
    });
    const power = 10 ** Math.floor(Math.log10(most));
    const top = [1, 1.5, 2, 3, 4, 6, 8, 10].find((step) => step * power >= most) * power;
    this.limit.setAttribute("d", `M0 ${1 - limit / top}H${POINTS - 1}`);
    this.top.textContent = format(top);
    this.lines.forEach((line, at) => {
      const from = POINTS - line.length;
      const points = line.map((y, x) => `${from + x} ${(1 - y / top).toFixed(4)}`);
      this.paths[at].setAttribute("d", `M${points.join("L")}${line.length === 1 ? "h0" : ""}`);
    });
  }
}

const rates = new Chart("rates", ["second", ""]);
const lag = new Chart("lag", [""], true);

function showFigures(now) {
  set("published", format(now.published_per_second));
  set("evicted", format(now.evicted));
  set("submitted", `of ${format(now.submitted)}`);
  set("delivered", format(now.delivered_per_second));
  set("subscribers", format(now.subscribers));
  set("behind", format(now.behind));
  set("gaps", format(now.gaps));
  // Of some gaps it is not known how many events they stand for.
  set("missed", `${format(now.missed)}${now.uncounted > 0 ? "+" : ""} missed`);
  set("retained", format(now.retained));
  set("bytes", `${format(Math.ceil(now.retained_bytes / 1024))} KiB`);
  set("memory", now.memory === null ? "?" : (now.memory / 2 ** 20).toFixed(1));
  rates.add([now.delivered_per_second, now.published_per_second]);
  lag.add([now.behind], now.kept);
  showRate(now.rate);
  showClients(now);
}

// The rate is the server's. It is shown as it is there, unless it is being set here.
let isSetting = false;

function showRate(rate) {
  if (isSetting) return;
  const at = RATES.findLastIndex((step) => step <= rate);
  if (document.activeElement !== byId("rate")) byId("rate").value = at;
  set("rate-shown", format(rate));
  byId("rate").ariaValueText = `${format(rate)} per second`;
}

async function ask(method, address, body) {
  let fault = "the server cannot be reached";
  try {
    const answer = await fetch(address, { method, body });
    fault = answer.ok ? "" : `the server says ${answer.status}`;
    if (answer.status === 409) fault = "there are enough of them";
  } catch {
    // Told below.
  }
  byId("fault").textContent = fault && `Not done: ${fault}.`;
}

byId("rate").oninput = async () => {
  const rate = () => RATES[byId("rate").valueAsNumber];
  set("rate-shown", format(rate()));
  byId("rate").ariaValueText = `${format(rate())} per second`;
  if (isSetting) return;
  isSetting = true;
  // While one is on its way, the slider may have moved on.
  let sent;
  do {
    sent = rate();
    await ask("POST", "/rate", `${sent}`);
  } while (sent !== rate());
  isSetting = false;
};

byId("add").onclick = () => ask("POST", "/clients");

// The rows stay, so that a button that has the focus keeps it.
const rows = new Map();

function clientRow(number) {
  const row = element("li", "client");
  const header = document.createElement("header");
  const title = element("h3", "", `Client ${number}`);
  title.id = `client-${number}`;
  const state = element("p", "state");
  const buttons = document.createElement("div");
  const toggle = element("button", "toggle", "Resume");
  const remove = element("button", "remove", "Remove");
  for (const button of [toggle, remove]) {
    button.type = "button";
    button.setAttribute("aria-describedby", title.id);
  }
  toggle.onclick = () => {
    const order = toggle.textContent === "Resume" ? "resume" : "stall";
    ask("POST", `/clients/${number}/${order}`);
  };
  remove.onclick = () => ask("DELETE", `/clients/${number}`);
  buttons.append(toggle, remove);
  header.append(title, state, buttons);
  const bar = element("div", "behind");
  bar.append(document.createElement("span"));
  row.append(header, bar, element("p", "figure muted"), element("p", "gap"));
  byId("clients").append(row);
  return row;
}

function showClients({ clients, kept }) {
  byId("no-clients").hidden = clients.length > 0;
  const numbers = new Set(clients.map(({ number }) => number));
  for (const [number, row] of rows) {
    if (numbers.has(number)) continue;
    row.remove();
    rows.delete(number);
  }
  for (const client of clients) {
    const { number, behind, received, missed, gap, ended } = client;
    if (!rows.has(number)) rows.set(number, clientRow(number));
    const row = rows.get(number);
    const find = (selector) => row.querySelector(selector);
    const put = (selector, text) => {
      if (find(selector).textContent !== text) find(selector).textContent = text;
    };
    const isOvertaken = client.state === "stalled" && behind >= kept;
    const word = { reading: "reading", stalled: isOvertaken ? "overtaken" : "stalled" };
    put(".state", word[client.state] ?? `ended: ${ended}`);
    find(".state").dataset.state = client.state === "reading" ? "live" : client.state;
    put(".toggle", client.state === "stalled" ? "Resume" : "Stall");
    find(".toggle").disabled = client.state === "ended";
    find(".behind span").style.width = `${Math.min(100, (behind / kept) * 100)}%`;
    find(".behind span").className = isOvertaken ? "overtaken" : "";
    const sum = client.adds_up ? "" : "; this does not add up";
    put(
      ".figure",
      `${count(behind, "event")} behind, ${format(received)} received, ${format(missed)} missed${sum}`,
    );
    const times = client.gaps > 1 ? ` The last of ${client.gaps} gaps.` : "";
    put(".gap", gap === null ? "" : tellGap("it", gap) + times);
  }
}

// What this page has had, counted as it comes and shown a few times per second.
const own = { received: 0, told: 0, missing: 0, first: 0, last: 0, id: "", queue: [] };

function take({ data, lastEventId }) {
  const { n, text } = JSON.parse(data);
  own.id = lastEventId;
  own.received += 1;
  own.first ||= n;
  if (own.last > 0) own.missing += n - own.last - 1;
  own.last = n;
  own.queue.push([n, text]);
  if (own.queue.length > SHOWN) own.queue.shift();
  showSoon();
}

let showing;
function showSoon() {
  showing ??= setTimeout(() => {
    showing = undefined;
    set("own", `${count(own.received, "event")} received, up to number ${format(own.last)}`);
    // By the numbers, whatever was told.
    set("own-check", own.missing === 0
      ? `None is missing since number ${format(own.first)}.`
      : `${format(own.missing)} missing by their numbers; ${count(own.told, "gap")} told.`);
    for (const [n, text] of own.queue.splice(0)) {
      const row = document.createElement("li");
      row.append(element("span", "n", format(n)), " ", text);
      prepend(row);
    }
  }, 100);
}

function prepend(row) {
  byId("feed").prepend(row);
  while (byId("feed").children.length > SHOWN) byId("feed").lastElementChild.remove();
}

function takeGap({ data, lastEventId }) {
  const gap = JSON.parse(data);
  own.id = lastEventId;
  own.told += 1;
  // Another server counts from the beginning.
  if (gap.reason === "epoch") own.first = own.last = own.missing = 0;
  byId("gap").textContent = tellGap("this page", gap);
}

function show(state) {
  byId("state").textContent = state;
  byId("state").dataset.state = state;
  byId("cut").textContent = state === "cut" ? "Resume" : "Cut";
}

// The browser connects again by itself and brings the last id. Only who has closed one and
// makes another has to bring the id, too.
let source;
function follow() {
  const query = own.id === "" ? "" : `?lastEventId=${encodeURIComponent(own.id)}`;
  source = new EventSource(`/events${query}`);
  source.onopen = () => show("live");
  source.onerror = () =>
    show(source.readyState === EventSource.CLOSED ? "closed" : "reconnecting");
  source.onmessage = take;
  source.addEventListener("gap", takeGap);
  source.addEventListener("figures", ({ data, lastEventId }) => {
    own.id = lastEventId;
    showFigures(JSON.parse(data));
  });
}

byId("cut").onclick = () => {
  if (byId("state").dataset.state === "cut") {
    show("connecting");
    follow();
  } else {
    source.close();
    show("cut");
  }
};

byId("curl").textContent = `curl -N ${location.origin}/events`;
follow();
