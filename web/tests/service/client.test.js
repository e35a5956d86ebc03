// The client in Node against the real service, by a proxy that refuses what it is told to.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { createServer } from "node:net";
import { WebSocket } from "ws";
import { connect } from "../../dist/index.js";
import { Proxy } from "../proxy.js";
import { Service, until } from "../service.js";

/** The service's times are in whole milliseconds. */
const ROUNDED_MS = 2;
let service, proxy, facility;
/** The stock of the other facilities. */
let others = 0;
const open = [];

before(async () => {
  service = await Service.start();
  proxy = await new Proxy(service.address).start();
  facility = await service.facility("A");
});

beforeEach(() => {
  open.splice(0).forEach((live) => live.close());
  proxy.refused.clear();
  proxy.asked.length = 0;
});

after(async () => {
  open.splice(0).forEach((live) => live.close());
  await proxy.end();
  await service.end();
});

function follow(options = {}) {
  const base = proxy.base;
  const live = connect({ base, webSocket: WebSocket, facilities: [facility], ...options });
  open.push(live);
  live.phases = [];
  live.subscribe(() => live.phases.push(live.status.phase));
  return live;
}

const transportOf = (live) => live.status.phase.transport;
const stockOf = (live) => live.summaries.get(facility)?.total_stock;
const shows = (live, stock) => until(`it shows ${stock}`, () => stockOf(live) === stock);

for (const [transport, refused] of [
  ["websocket", []],
  ["sse", ["/v1/live"]],
  ["polling", ["/v1/live", "/v1/stream"]],
]) {
  test(`what changes is shown over ${transport}, and a heartbeat keeps its age low`, async () => {
    refused.forEach((path) => proxy.refused.set(path, 403));
    const live = follow({ totals: true, pollMs: 100 });
    for (const stock of [5, 7]) {
      await service.stock(facility, stock);
      await shows(live, stock);
      await until("the totals follow", () => live.totals?.total_stock === stock + others);
    }
    assert.equal(transportOf(live), transport);
    const exact = await until("the age is known", () => live.age() !== null && live);
    assert.ok(exact.age() >= 0);
    let [last, fell] = [Infinity, 0];
    await until("the age falls, and falls again, while nothing changes", () => {
      const age = live.age();
      if (age < last) fell += 1;
      last = age;
      return fell > 1;
    });
    // It follows something else on the same connection.
    const other = await service.facility("B");
    live.follow({ facilities: [other] });
    await service.stock(other, 3);
    await until("the other one is shown", () => live.summaries.get(other)?.total_stock === 3);
    assert.equal(live.summaries.has(facility), false);
    await service.stock(facility, 6);
    await service.stock(other, 4);
    await until("its change is shown", () => live.summaries.get(other)?.total_stock === 4);
    assert.equal(live.summaries.has(facility), false);
    others += 4;
  });
}

for (const [transport, wish] of [
  ["websocket", {}], ["sse", {}], ["polling", {}],
  ["websocket", { facilities: [], totals: true }],
])
  test(`an age over ${transport} is never too young: ${JSON.stringify(wish)}`, async () => {
    const live = follow({ transports: [transport], pollMs: 300, ...wish });
    const shown = () => (wish.totals ? live.totals?.total_stock - others : stockOf(live));
    await until("it is proven", () => live.age() !== null);
    let seen = 0;
    const end = performance.now() + 2_500;
    for (let stock = 100; performance.now() < end; stock += 1) {
      await service.stock(facility, stock);
      const committed = performance.now();
      // What is shown lacks that change, so it is not exact as of then.
      await until(`it shows ${stock}`, async () => {
        const asked = performance.now();
        const [now, age] = [shown(), live.age()];
        if (now === stock) return true;
        seen += 1;
        const truth = asked - committed - ROUNDED_MS;
        assert.ok(age === null || age >= truth, `${age} ms, though ${truth} ms are over`);
        return false;
      });
    }
    assert.ok(transport === "websocket" || seen > 0);
  });

test("a connection that is cut comes back, and no version goes back", async () => {
  for (const transport of ["websocket", "sse"]) {
    const second = await service.facility(`of ${transport}`);
    const live = follow({ transports: [transport], facilities: [facility, second] });
    await service.stock(second, 1);
    await until("it shows both", () => live.summaries.get(second)?.total_stock === 1
      && live.age() !== null);
    const versions = [...live.summaries.values()].map(({ version }) => version);
    proxy.cut();
    await until("it has noticed", () => live.phases.some(({ name }) => name === "waiting"));
    await until("it is back", () => live.status.phase.name === "open");
    await service.stock(second, 2);
    await until("the change is shown", () => live.summaries.get(second)?.total_stock === 2);
    assert.ok([...live.summaries.values()].every(({ version }, at) => version >= versions[at]));
    live.close();
  }
});

test("what is known is not sent again", async () => {
  const messages = [];
  class Noted extends WebSocket {
    set onmessage(take) {
      super.onmessage = (event) => {
        messages.push(JSON.parse(event.data));
        take(event);
      };
    }
  }
  const live = follow({ webSocket: Noted });
  await until("it is proven", () => live.age() !== null);
  messages.length = 0;
  proxy.cut();
  await until("a heartbeat has come", () => messages.some(({ type }) => type === "heartbeat"));
  const types = messages.map(({ type }) => type);
  assert.ok(types.includes("subscribed") && !types.includes("summary"), `${types}`);
});

test("a service that stops says when to come back, and the client does so", async () => {
  const live = follow();
  await until("it shows", () => stockOf(live) !== undefined);
  await service.down();
  await until("it was told", () =>
    live.phases.some(({ name, reason }) => name === "waiting" && /asks to come back/.test(reason)));
  const stale = live.age();
  await until("the age grows", () => live.age() > stale);
  await service.up();
  proxy.upstream = service.address;
  await service.stock(facility, 11);
  await shows(live, 11);
});

test("a better way is taken when it is open again", async () => {
  proxy.refused.set("/v1/live", 403);
  proxy.refused.set("/v1/stream", 403);
  const live = follow({ betterMs: 200, pollMs: 200 });
  await until("it polls", () => transportOf(live) === "polling");
  proxy.refused.delete("/v1/stream");
  await until("it reads events", () => transportOf(live) === "sse");
  proxy.refused.delete("/v1/live");
  await until("it has a WebSocket", () => transportOf(live) === "websocket");
  await service.stock(facility, 21);
  await shows(live, 21);
});

test("what does not exist is said, and the rest is shown", async () => {
  const unknown = "00000000-0000-4000-8000-000000000000";
  for (const transport of ["websocket", "sse", "polling"]) {
    const live = follow({ transports: [transport], facilities: [facility, unknown] });
    await until("it is said", () => live.status.refused.get(unknown) === "unknown");
    await until("the rest is shown", () => stockOf(live) !== undefined);
    await until("its age is known", () => live.age() !== null);
    live.close();
  }
});

test("who follows all has every facility, also one that comes later", async () => {
  for (const transport of ["websocket", "sse", "polling"]) {
    const live = follow({ transports: [transport], facilities: [], all: true, pollMs: 100 });
    await until("it has them", () => stockOf(live) !== undefined && live.age() !== null);
    const late = await service.facility(`late ${transport}`);
    await until("it has the late one", () => live.summaries.has(late));
    live.close();
  }
});

test("a service that takes connections and says nothing holds nobody up", async () => {
  // No answer, and no end, of a real socket.
  const sockets = new Set();
  const silent = createServer((socket) => sockets.add(socket.on("error", () => {})));
  await new Promise((fulfil) => silent.listen(0, "127.0.0.1", fulfil));
  const before = proxy.upstream;
  proxy.upstream = `127.0.0.1:${silent.address().port}`;
  try {
    const live = follow({ openMs: 100, random: () => 0.01, transports: ["websocket", "sse"] });
    await until("it has given up once", () => live.phases.some(({ name }) => name === "waiting"));
    proxy.upstream = before;
    await until("it shows", () => stockOf(live) !== undefined);
  } finally {
    proxy.upstream = before;
    sockets.forEach((socket) => socket.destroy());
    silent.close();
  }
});

test("a client that is closed is gone", async () => {
  const live = follow();
  await until("it is there", () => live.age() !== null);
  live.close();
  const clients = async () => (await service.metric('live_clients{transport="websocket"}')) === 0;
  await until("its place is free", clients);
});
