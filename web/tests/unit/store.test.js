import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceClock } from "../../dist/clock.js";
import { Store } from "../../dist/store.js";

const A = "00000000-0000-4000-8000-00000000000a";
const B = "00000000-0000-4000-8000-00000000000b";
const START = Date.parse("2026-11-21T10:00:00Z");
const at = (seconds) => new Date(START + seconds * 1_000).toISOString();

function wish(facilities, { all = false, totals = false } = {}) {
  return { facilities: new Set(facilities), all, totals };
}

function summary(facility, version, stock, date = "2026-11-21") {
  return { facility_id: facility, date, version, total_stock: stock, by_blood_type: {} };
}

/** A store that follows this, whose time the test moves; the service's is `START` at 0. */
function follow(followed) {
  const time = { ms: 0 };
  const clock = new ServiceClock(() => time.ms, () => time.ms);
  const store = new Store(clock);
  store.setWish(followed);
  clock.answered(START, 0);
  const take = (message, covers = followed) => store.take(message, covers);
  const send = (facility, version, stock, seconds, date) => {
    const of = summary(facility, version, stock, date);
    take({ type: "summary", summary: of, etag: `"${version}"`, as_of: at(seconds) });
  };
  const beat = (seconds, covers) =>
    take({ type: "heartbeat", exact_as_of: at(seconds), now: at(seconds) }, covers);
  const hello = (epoch) =>
    take({ type: "hello", epoch, heartbeat_ms: 1_000, exact_as_of: null, now: at(0) });
  hello("one");
  return { time, clock, store, take, send, beat, hello };
}

test("an age counts from when it was exact, and the oldest counts for the whole", () => {
  const { time, store, send, beat } = follow(wish([A, B]));
  assert.equal(store.age(), null, "nothing is there");
  send(A, 1, 5, 0);
  assert.equal(store.age(), null, "one is missing");
  send(B, 1, 7, -4);
  time.ms = 1_000;
  assert.deepEqual([store.ageOf(A), store.ageOf(B), store.age()], [1_000, 5_000, 5_000]);
  beat(1);
  assert.equal(store.age(), 0, "a quiet facility is as exact as the heartbeat says");
  time.ms = 61_000;
  assert.equal(store.age(), 60_000, "it grows by itself");
});

test("a heartbeat proves only what the connection follows", () => {
  const { time, store, send, beat } = follow(wish([A, B]));
  send(A, 1, 5, 0);
  send(B, 1, 7, 0);
  time.ms = 9_000;
  beat(9, wish([A]));
  assert.deepEqual([store.ageOf(A), store.ageOf(B)], [0, 9_000]);
});

test("without the service's time no age is known", () => {
  const { store, clock, send } = follow(wish([A]));
  send(A, 1, 5, 0);
  clock.forget();
  assert.equal(store.age(), null);
});

test("another epoch forgets what is shown, be its versions lower", () => {
  const { store, take, send, hello } = follow(wish([A]));
  send(A, 9, 5, 0);
  take({ type: "epoch", epoch: "two", detail: "" });
  assert.equal(store.items.size, 0);
  send(A, 1, 3, 1);
  assert.equal(store.items.get(A).summary.total_stock, 3);
  assert.deepEqual(store.known([A]), { [A]: '"1"' });
  hello("two");
  assert.equal(store.items.size, 1, "the same epoch");
  hello("three");
  assert.deepEqual([store.items.size, store.known([A])], [0, {}]);
});

test("who follows all is shown nothing older by a server that is behind", () => {
  const followed = wish([], { all: true });
  const { store, take, send, beat, hello } = follow(followed);
  send(A, 9, 5, 0);
  hello("one");
  take({ type: "subscribed", id: 1, facilities: [], subject: "all", refused: [] });
  send(A, 8, 4, 1);
  beat(1);
  assert.equal(store.items.get(A).summary.version, 9, "and it is there");
  send(A, 0, null, 1, "2026-11-22");
  assert.equal(store.items.get(A).summary.version, 0, "another day, without figures yet");
  hello("two");
  send(A, 3, 7, 2);
  assert.equal(store.items.get(A).summary.version, 3);
});

test("a poll that is behind shows nothing older, and one that is exact later does", () => {
  const { time, store, send, beat } = follow(wish([A]));
  send(A, 9, 5, 0);
  beat(0);
  time.ms = 20_000;
  const poll = (version, stock, exactAt) =>
    store.poll({
      items: [{ summary: summary(A, version, stock), etag: `"${version}"`, at: exactAt }],
      isAll: false, totals: null, refused: [], same: [],
    });
  poll(8, 4, -10_000);
  assert.equal(store.items.get(A).summary.version, 9);
  assert.equal(store.age(), 20_000, "what is shown is as old as before");
  poll(8, 4, 19_000);
  assert.equal(store.items.get(A).summary.version, 8, "the database has lost something");
  assert.equal(store.age(), 1_000);
});

test("who follows all loses what is not sent again, once all has come", () => {
  const followed = wish([], { all: true });
  const { store, take, send, beat, hello } = follow(followed);
  send(A, 1, 5, 0);
  send(B, 1, 7, 0);
  hello("one");
  take({ type: "subscribed", id: 1, facilities: [], subject: "all", refused: [] });
  const item = { summary: summary(B, 2, 8), etag: '"2"', as_of: at(1) };
  take({ type: "summaries", summaries: [item] });
  take({ type: "heartbeat", exact_as_of: null, now: at(2) });
  assert.equal(store.items.size, 2, "nothing is proven");
  beat(2);
  assert.deepEqual([...store.items.keys()], [B]);
});

test("what was refused is said, and has no age", () => {
  const { store, take, send } = follow(wish([A, B]));
  const refused = [{ facility_id: B, reason: "unknown" }];
  take({ type: "subscribed", id: 1, facilities: [A], subject: null, refused });
  send(A, 1, 5, 0);
  assert.deepEqual([...store.refused], [[B, "unknown"]]);
  assert.equal(store.age(), 0);
  take({ type: "error", code: "forbidden", detail: "", facilities: [A] });
  assert.deepEqual([store.items.size, store.refused.get(A), store.age()], [0, "forbidden", null]);
});

test("a heartbeat makes no figure younger that cannot be counted, until it can be again", () => {
  const { time, store, take, send, beat } = follow(wish([A, B]));
  send(A, 1, 5, 0);
  send(B, 1, 7, 0);
  const beatWithout = (seconds, facilities) => take({
    type: "heartbeat", exact_as_of: at(seconds), now: at(seconds),
    cannot_be_counted: { facilities, see: "" },
  });
  time.ms = 3_000;
  beatWithout(3, 1);
  assert.deepEqual([store.ageOf(A), store.ageOf(B)], [3_000, 3_000], "it may be either one");
  const of = summary(A, 1, 5);
  take({ type: "summary", summary: of, etag: '"1"', as_of: at(0), cannot_be_counted: true });
  time.ms = 4_000;
  beatWithout(4, 1);
  assert.deepEqual([store.ageOf(A), store.ageOf(B), store.age()], [4_000, 0, 4_000]);
  assert.equal(store.items.get(A).cannotBeCounted, true);
  send(A, 1, 5, 4);
  time.ms = 5_000;
  beat(5);
  assert.deepEqual([store.ageOf(A), store.items.get(A).cannotBeCounted], [0, false]);
});

test("what cannot be counted and is shown nowhere here holds no other age up", () => {
  const { time, store, take, send } = follow(wish([A]));
  send(A, 1, 5, 0);
  time.ms = 2_000;
  const beat = { exact_as_of: at(2), now: at(2), cannot_be_counted: { facilities: 1, see: "" } };
  take({ type: "heartbeat", ...beat }, wish([A, B]));
  assert.equal(store.ageOf(A), 0);
});

test("what is refused for the moment stays shown, and counts as old as it is", () => {
  const { time, store, take, send, beat } = follow(wish([A, B]));
  send(A, 1, 5, 0);
  send(B, 1, 7, 0);
  const refused = [{ facility_id: B, reason: "unavailable" }];
  take({ type: "subscribed", id: null, facilities: [A], subject: null, refused });
  time.ms = 9_000;
  beat(9, wish([A]));
  assert.deepEqual([store.ageOf(A), store.ageOf(B), store.age()], [0, 9_000, 9_000]);
});

test("with a credential of somebody else nothing of before is shown", () => {
  const { store, take, send } = follow(wish([A], { totals: true }));
  send(A, 1, 5, 0);
  take({ type: "totals", totals: { facilities: 1 }, as_of: at(0) });
  take({ type: "error", code: "other_principal", detail: "" });
  assert.deepEqual([store.items.size, store.totals, store.known([A])], [0, null, {}]);
});

test("a message of what is not followed any more shows nothing", () => {
  const { store, send } = follow(wish([A, B]));
  send(A, 1, 5, 0);
  store.setWish(wish([B]));
  send(A, 2, 6, 0);
  assert.equal(store.items.size, 0);
});
