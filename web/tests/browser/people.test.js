// Several people at one browser, who sign in and out in its tabs, in a real Chromium.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
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

let browser, service, proxy, context;
/** Anna may see both, and Ben the second one. */
let first, second, anna, ben;

before(async () => {
  service = await Service.signedIn();
  proxy = await new Proxy(service.address, PAGES).start();
  [first, second] = [await service.facility("A"), await service.facility("B")];
  anna = service.user("anna", [first, second]);
  ben = service.user("ben", [second]);
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath, args, headless: true });
});

beforeEach(async () => {
  await context?.close();
  context = await browser.newContext();
});

after(async () => {
  await browser?.close();
  await proxy?.end();
  await service?.end();
});

async function tab() {
  const page = await context.newPage();
  // Chromium takes a cookie that is `Secure` from this name without TLS.
  await page.goto(`${proxy.base.replace("127.0.0.1", "localhost")}/page`);
  await page.waitForFunction(() => window.isReady);
  return page;
}

const ask = (page, path, body) => page.evaluate(async ([to, json]) => {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(to, { method: "POST", headers, body: json });
  return answer.ok;
}, [path, body && JSON.stringify(body)]);
const signIn = async (page, who) => assert.ok(await ask(page, "/v1/auth/login", who));
const signOut = async (page) => assert.ok(await ask(page, "/v1/auth/logout"));

/** Follows both, and notes what was ever shown. */
const follow = (page) => page.evaluate((facilities) => {
  window.follow({ facilities, totals: true });
  window.seen = new Set();
  window.live.subscribe(() => window.live.summaries.forEach((_, id) => window.seen.add(id)));
}, [first, second]);
const state = (page) => page.evaluate(() => ({
  shown: [...window.live.summaries.keys()].sort(),
  refused: [...window.live.status.refused.keys()],
  phase: window.live.status.phase.name,
  facilities: window.live.totals?.facilities ?? null,
}));
const isIn = (page, what, wanted) => until(what, async () => {
  const is = await state(page);
  assert.equal(typeof is, "object");
  return JSON.stringify({ ...is, ...wanted }) === JSON.stringify(is);
});
const showsBoth = (page) =>
  isIn(page, "it shows both", { shown: [first, second].sort(), facilities: 2 });
const showsBens = (page) =>
  isIn(page, "it shows Ben's", { shown: [second], refused: [first], facilities: 1 });
const clients = () => service.metric('live_clients{transport="websocket"}');

test("no tab shows what was got for whoever was signed in before", async () => {
  const tabs = [await tab(), await tab()];
  await signIn(tabs[0], anna);
  for (const page of tabs) await follow(page);
  for (const page of tabs) await showsBoth(page);
  await until("they share", async () => (await clients()) === 1);
  const other = await tab();
  await signIn(other, ben);
  await follow(other);
  await showsBens(other);
  assert.deepEqual(await other.evaluate(() => [...window.seen]), [second]);
  // The other tabs hear of it, and nobody has to look at them.
  for (const page of tabs) await showsBens(page);
  await until("all share", async () => (await clients()) === 1);
});

test("who signs out is shown nothing more, in no tab, and whoever is next gets their own",
  async () => {
    const tabs = [await tab(), await tab()];
    await signIn(tabs[0], anna);
    for (const page of tabs) await follow(page);
    for (const page of tabs) await showsBoth(page);
    await signOut(tabs[1]);
    for (const page of tabs)
      await isIn(page, "it is refused", { shown: [], phase: "refused", facilities: null });
    await signIn(tabs[1], ben);
    await tabs[1].evaluate(() => {
      window.seen.clear();
      window.live.renew();
    });
    await showsBens(tabs[1]);
    assert.deepEqual(await tabs[1].evaluate(() => [...window.seen]), [second]);
    await showsBens(tabs[0]);
    // The same person with another session, and a tab that was only looked at again.
    await signOut(tabs[0]);
    await isIn(tabs[0], "it is refused", { shown: [], phase: "refused" });
    await signIn(tabs[0], anna);
    await tabs[1].evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    for (const page of tabs) await showsBoth(page);
  });
