// The client in a real Chromium against the real service, behind a proxy that serves the page.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Nginx } from "../nginx.js";
import { Proxy } from "../proxy.js";
import { Service, until } from "../service.js";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const PAGES = {
  "/page": { file: file("page.html"), type: "text/html" },
  "/live.js": {
    file: file("../../dist/facility-summary-live.min.js"),
    type: "text/javascript",
  },
};

let browser, service, proxy, facility, context;
/** The service's times are in whole milliseconds. */
const ROUNDED_MS = 2;
/** The stock of the facility; each test writes others. */
let now = 0;

async function write() {
  now += 1;
  await service.stock(facility, now);
}

before(async () => {
  service = await Service.start();
  proxy = await new Proxy(service.address, PAGES).start();
  facility = await service.facility("A");
  await write();
  // Chromium's own sandbox cannot be had as root in a container.
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath, args, headless: true });
});

beforeEach(async () => {
  proxy.refused.clear();
  await context?.close();
  context = await browser.newContext();
});

after(async () => {
  await browser?.close();
  await proxy?.end();
  await service?.end();
});

/** A tab that follows the facility. */
async function tab({ base = proxy.base, ...options } = {}) {
  const page = await context.newPage();
  await page.goto(`${base}/page`);
  await page.waitForFunction(() => window.isReady);
  await page.evaluate((given) => {
    // A back-off that is longer than the test waits, so that nothing comes back by itself.
    if (given.patient) given.random = () => 60;
    window.follow(given);
  }, { facilities: [facility], ...options });
  return page;
}

const of = (page, what) => page.evaluate(what, facility);
const stock = (page) => of(page, (id) => window.live.summaries.get(id)?.total_stock ?? null);
const age = (page) => of(page, () => window.live.age());
const status = (page) => of(page, () => {
  const { phase, role } = window.live.status;
  return { phase, role };
});
const shows = (page) => until(`it shows ${now}`, async () => (await stock(page)) === now);
/** Waits until so many are connected; those of the test before may be there for a moment. */
const connected = (websocket, sse) => until(`${websocket} and ${sse} are connected`, async () =>
  (await clients("websocket")) === websocket && (await clients("sse")) === sse);
const clients = (transport) => service.metric(`live_clients{transport="${transport}"}`);

test("tabs share one connection, and the next one holds it when that one is closed", async () => {
  const tabs = [await tab(), await tab(), await tab()];
  await write();
  for (const page of tabs) await shows(page);
  await connected(1, 0);
  const roles = await Promise.all(tabs.map(async (page) => (await status(page)).role));
  assert.deepEqual([...roles].sort(), ["holder", "sharer", "sharer"]);
  for (const page of tabs)
    await until("each knows the age", async () => (await age(page)) !== null);
  // What only another tab follows is followed by the one connection, until that tab is gone.
  const other = await service.facility("B");
  const sharer = tabs.find((_, at) => roles[at] === "sharer");
  await sharer.evaluate((id) => window.live.follow({ facilities: [id], totals: true }), other);
  await service.stock(other, 4);
  await until("it shows the other one", () =>
    sharer.evaluate((id) => window.live.summaries.get(id)?.total_stock === 4, other));
  await until("it has the totals", () =>
    sharer.evaluate((sum) => window.live.totals?.total_stock === sum, now + 4));
  await connected(1, 0);
  const holder = tabs.find((_, at) => roles[at] === "holder");
  const left = tabs.filter((page) => page !== holder && page !== sharer)[0];
  await holder.close();
  await write();
  await shows(left);
  await service.stock(other, 5);
  await until("it shows the other one", () =>
    sharer.evaluate((id) => window.live.summaries.get(id)?.total_stock === 5, other));
  await connected(1, 0);
});

test("a tab that does nothing any more is no holder for long, and then shares", async () => {
  const holder = await tab({ syncMs: 300 });
  await until("it is the holder", async () => (await status(holder)).role === "holder");
  const sharer = await tab({ syncMs: 300 });
  await shows(sharer);
  const cdp = await context.newCDPSession(holder);
  await cdp.send("Debugger.enable");
  await cdp.send("Debugger.pause"); // from its next statement on
  await until("the other one is the holder", async () => (await status(sharer)).role === "holder");
  await write();
  await shows(sharer);
  await cdp.send("Debugger.resume");
  await until("it is a sharer", async () => (await status(holder)).role === "sharer");
  await shows(holder);
});

test("tabs converge by themselves after a restart, and show no age that is too young", async () => {
  const tabs = [await tab(), await tab()];
  for (const page of tabs) await shows(page);
  await service.down("SIGKILL");
  await until("it is noticed", async () => (await status(tabs[1])).phase.name !== "open");
  await service.up();
  proxy.upstream = service.address;
  await write();
  const written = performance.now();
  // Who still shows the old figure says that it is older than the write.
  for (const page of tabs)
    await until("it shows the new figure", async () => {
      const asked = performance.now();
      const [shown, oldest] = await of(page, (id) =>
        [window.live.summaries.get(id)?.total_stock, window.live.age()]);
      if (shown === now) return true;
      assert.ok(oldest === null || oldest >= asked - written - ROUNDED_MS, `${oldest}`);
      return false;
    });
  await connected(1, 0);
});

test("without WebSocket there are events, and without both there are polls", async () => {
  proxy.refused.set("/v1/live", 403);
  const events = await tab();
  const second = await tab();
  await shows(second);
  assert.equal((await status(second)).phase.transport, "sse");
  await connected(0, 1);
  await write();
  for (const page of [events, second]) await shows(page);
  await Promise.all([events.close(), second.close()]);
  proxy.refused.set("/v1/stream", 403);
  const polls = await tab({ pollMs: 200 });
  const third = await tab({ pollMs: 200 });
  await shows(third);
  assert.equal((await status(third)).phase.transport, "polling");
  await write();
  for (const page of [polls, third]) {
    await shows(page);
    await until("the age is known", async () => (await age(page)) !== null);
  }
  await connected(0, 0);
});

test("quiet tabs stay connected behind nginx, which cuts what is silent for longer", async () => {
  const nginx = await Nginx.before(service.address, PAGES);
  try {
    const websocket = await tab({ base: nginx.base });
    await shows(websocket);
    assert.equal((await status(websocket)).phase.transport, "websocket");
    const events = await context.newPage();
    await events.goto(`${nginx.base}/page`);
    await of(events, (id) => {
      window.opened = 0;
      window.beats = 0;
      const source = new EventSource(`/v1/stream?facility_id=${id}`);
      source.addEventListener("open", () => { window.opened += 1; });
      source.addEventListener("heartbeat", () => { window.beats += 1; });
      source.addEventListener("summary", ({ data }) => {
        window.stock = JSON.parse(data).summary.total_stock;
      });
    });
    await connected(1, 1);
    await until("four seconds were quiet", () => of(events, () => window.beats >= 4));
    await write();
    await shows(websocket);
    await until("the EventSource shows it", async () =>
      (await of(events, () => window.stock)) === now);
    assert.equal(await of(events, () => window.opened), 1);
    const phases = await of(websocket, () => window.phases.map((phase) => phase.name));
    assert.ok(!phases.includes("waiting"), phases.join());
  } finally {
    await nginx.end();
  }
});

test("a network that is back ends the wait", async () => {
  const page = await tab({ patient: true });
  await shows(page);
  for (const path of ["/v1/live", "/v1/stream", "/v1/facilities"]) proxy.refused.set(path, 502);
  proxy.cut();
  await until("it waits", async () => (await status(page)).phase.name === "waiting");
  await write();
  proxy.refused.clear();
  await until("it is woken", async () => {
    await of(page, () => window.dispatchEvent(new Event("online")));
    return (await stock(page)) === now;
  });
});

test("the browser's own EventSource follows, and goes on where it was cut off", async () => {
  const page = await context.newPage();
  await page.goto(`${proxy.base}/page`);
  await page.evaluate((id) => {
    window.stocks = [];
    window.resumed = [];
    const source = new EventSource(`/v1/stream?facility_id=${id}`);
    source.addEventListener("summary", ({ data }) =>
      window.stocks.push(JSON.parse(data).summary.total_stock));
    source.addEventListener("subscribed", ({ data }) =>
      window.resumed.push(JSON.parse(data).resumed));
  }, facility);
  const stocks = () => of(page, () => window.stocks);
  await until("it shows", async () => (await stocks()).at(-1) === now);
  await write();
  await until("it shows the change", async () => (await stocks()).at(-1) === now);
  proxy.cut();
  await until("it has resumed", async () => (await of(page, () => window.resumed)).includes(true));
  await write();
  await until("it shows the next change", async () => (await stocks()).at(-1) === now);
  assert.deepEqual(await stocks(), [now - 2, now - 1, now]);
});
