// Who may follow: the client in Node against a service with sign-in.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../dist/index.js";
import { Service, until } from "../service.js";

let service, facility, hidden;

before(async () => {
  service = await Service.signedIn();
  facility = await service.facility("A");
  hidden = await service.facility("B");
  await service.stock(facility, 1);
});

after(() => service.end());

for (const transport of ["websocket", "sse", "polling"]) {
  test(`a key counts over ${transport} until it is revoked, and then another one does`, async () => {
    let key = await service.key([facility]);
    const live = connect({
      base: service.base, webSocket: WebSocket, transports: [transport], pollMs: 100,
      facilities: [facility, hidden], token: () => key,
    });
    const shows = (stock) => until(`it shows ${stock}`, () =>
      live.summaries.get(facility)?.total_stock === stock);
    const isRefused = () => until("it is refused", () => live.status.phase.name === "refused");
    try {
      await service.stock(facility, 2);
      await shows(2);
      await until("the other one is refused", () =>
        live.status.refused.get(hidden) === "forbidden");
      await service.revoke(key);
      await isRefused();
      assert.match(live.status.phase.reason, /sign in/);
      key = await service.key([facility]);
      live.renew();
      await service.stock(facility, 3);
      await shows(3);
      key = "fs_nothing";
      live.renew();
      await isRefused();
    } finally {
      live.close();
    }
  });
}

for (const transport of ["websocket", "sse", "polling"]) {
  test(`the key of somebody else shows over ${transport} what that one may see`, async () => {
    let key = await service.key([facility, hidden]);
    const live = connect({
      base: service.base, webSocket: WebSocket, transports: [transport], pollMs: 60_000,
      facilities: [facility, hidden], token: () => key,
    });
    try {
      await until("it shows both", () => live.summaries.size === 2);
      key = await service.key([facility]);
      live.renew();
      await until("the other one is refused", () =>
        live.status.refused.get(hidden) === "forbidden");
      assert.equal(live.summaries.has(hidden), false);
      await until("its own is shown", () => live.summaries.has(facility));
      assert.equal(live.status.phase.name, "open");
    } finally {
      live.close();
    }
  });
}

test("without a credential it is refused, and told so", async () => {
  const facilities = [facility];
  const live = connect({ base: service.base, webSocket: WebSocket, facilities });
  await until("it is refused", () => live.status.phase.name === "refused");
  assert.match(live.status.phase.reason, /Sign in first/);
  assert.equal(live.summaries.size, 0);
  live.close();
});
