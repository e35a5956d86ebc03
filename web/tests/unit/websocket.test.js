// What goes over a WebSocket, with a service that says what the test has it say.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../dist/index.js";
import { until } from "../service.js";

const A = "00000000-0000-4000-8000-00000000000a";
const B = "00000000-0000-4000-8000-00000000000b";
const now = () => new Date().toISOString();
const open = [];
/** The connections that were opened, the newest last. */
const sockets = [];

afterEach(() => {
  open.splice(0).forEach((live) => live.close());
  sockets.length = 0;
});

/** The service's end, and the browser's, of a connection. */
class Peer {
  readyState = 1;
  sent = [];
  follows = new Set();

  constructor() {
    sockets.push(this);
    const hello = { epoch: "one", heartbeat_ms: 15_000, exact_as_of: null, now: now() };
    queueMicrotask(() => this.say({ type: "hello", ...hello }));
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  summary(facility, stock, exactAt = Date.now()) {
    const summary = { facility_id: facility, date: "2026-11-28", version: 1, total_stock: stock };
    const as_of = new Date(exactAt).toISOString();
    this.say({ type: "summary", summary, etag: `"${stock}"`, as_of });
  }

  beat() {
    this.say({ type: "heartbeat", exact_as_of: now(), now: now() });
  }

  send(text) {
    const message = JSON.parse(text);
    this.sent.push(message);
    queueMicrotask(() => this.answer(message));
  }

  /** As the service does: whoever follows already is not sent it again. */
  answer({ type, id, facilities = [], subject = null }) {
    if (type === "unsubscribe") facilities.forEach((one) => this.follows.delete(one));
    if (type !== "subscribe") return;
    const added = facilities.filter((one) => !this.follows.has(one));
    added.forEach((one) => this.follows.add(one));
    this.say({ type: "subscribed", id, facilities, subject, refused: [] });
    added.forEach((one) => this.summary(one, 5));
  }

  refuse(code, close = 1008) {
    this.say({ type: "error", code, detail: code });
    this.close(close);
  }

  close(code = 1000) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    queueMicrotask(() => this.onclose?.({ code }));
  }
}

function follow(options = {}) {
  const base = "http://service.example";
  const live = connect({
    base, webSocket: Peer, transports: ["websocket"], facilities: [A], random: () => 0, ...options,
  });
  open.push(live);
  live.phases = [];
  live.subscribe(() => live.phases.push(live.status.phase.name));
  return live;
}

const shows = (live, facility, stock = 5) => until(`it shows ${stock}`, () =>
  live.summaries.get(facility)?.total_stock === stock);

test("a step away and back shows again what is shown", async () => {
  const live = follow();
  await shows(live, A);
  live.follow({ facilities: [B] });
  assert.equal(live.summaries.size, 0, "at once nothing else is shown");
  live.follow({ facilities: [A] });
  await shows(live, A);
  live.follow({ facilities: [B] });
  await shows(live, B);
  live.follow({ facilities: [A] });
  await shows(live, A);
  assert.deepEqual([...sockets[0].follows], [A]);
});

test("who steps through a list sends little, and follows what it comes to last", async () => {
  const live = follow();
  await shows(live, A);
  const ids = Array.from({ length: 300 }, (_, at) =>
    `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`);
  for (const id of ids) {
    live.follow({ facilities: [id] });
    await new Promise((fulfil) => setTimeout(fulfil, 1));
  }
  await shows(live, ids.at(-1));
  const { sent, follows } = sockets[0];
  assert.deepEqual([...follows], [ids.at(-1)]);
  // Two for each of the steps that are a quarter of a second apart.
  assert.ok(sent.length < 40, `${sent.length} messages`);
});

test("without messages left it waits, and then follows what is wished for by then", async () => {
  let asked = 0;
  const live = follow({ token: () => String(asked += 1) });
  await until("it signs in", () => asked > 0);
  const [socket] = sockets;
  socket.say({ type: "authenticated", name: "" });
  await shows(live, A);
  while (asked < 49) {
    live.renew();
    await new Promise((fulfil) => setImmediate(fulfil));
  }
  assert.equal(socket.sent.length, 50);
  live.follow({ facilities: [B] });
  // Until the service can be told that A is left, it is dropped here, and then wished for again.
  await until("it is dropped", () => live.ageOf(A) === null);
  live.follow({ facilities: [A] });
  await shows(live, A);
  assert.deepEqual([...socket.follows], [A]);
  const types = socket.sent.slice(50).map(({ type }) => type);
  assert.deepEqual(types, ["unsubscribe", "subscribe"]);
});

test("an answer to what was left since proves nothing of what is followed now", async () => {
  Peer.prototype.answer = () => {};
  try {
    const live = follow();
    const asked = (count) => until(`it asks ${count} times`, () =>
      sockets[0]?.sent.filter(({ type }) => type === "subscribe").length === count);
    await asked(1);
    live.follow({ facilities: [B] });
    await asked(2);
    live.follow({ facilities: [A] });
    await asked(3);
    const [{ id: first }, , { id: last }] =
      sockets[0].sent.filter(({ type }) => type === "subscribe");
    const subscribed = (id) => sockets[0].say(
      { type: "subscribed", id, facilities: [A], subject: null, refused: [] });
    subscribed(first);
    sockets[0].summary(A, 5, Date.now() - 60_000);
    sockets[0].beat();
    assert.ok(live.ageOf(A) > 50_000, `${live.ageOf(A)} ms`);
    subscribed(last);
    sockets[0].beat();
    assert.ok(live.ageOf(A) < 50_000, `${live.ageOf(A)} ms`);
  } finally {
    Peer.prototype.answer = answer;
  }
});

test("too many messages, or credentials, are a reason to come back later", async () => {
  for (const code of ["too_many_messages", "too_many_requests"]) {
    const live = follow();
    await shows(live, A);
    sockets.at(-1).refuse(code);
    await until("it waits", () => live.status.phase.name === "waiting");
    assert.equal(live.status.phase.ms, 10_000);
    assert.equal(live.summaries.size, 1, "what is shown is as old as it is");
  }
});

test("who is signed out is shown nothing more", async () => {
  const live = follow();
  await shows(live, A);
  sockets[0].refuse("expired");
  await until("it is refused", () => live.status.phase.name === "refused");
  assert.equal(live.summaries.size, 0);
});

test("the credential of somebody else gets another connection, and nothing of before", async () => {
  let key = "first";
  const live = follow({ token: () => key });
  await until("it signs in", () => sockets[0]?.sent.length > 0);
  assert.deepEqual(sockets[0].sent, [{ type: "auth", token: "first" }]);
  sockets[0].say({ type: "authenticated", name: "first" });
  await shows(live, A);
  key = "second";
  live.renew();
  await until("it is told", () => sockets[0].sent.some(({ token }) => token === "second"));
  sockets[0].say({ type: "error", code: "other_principal", detail: "somebody else's" });
  assert.equal(live.summaries.size, 0);
  await until("it connects anew", () => sockets[1]?.sent.length > 0);
  assert.deepEqual(sockets[1].sent, [{ type: "auth", token: "second" }]);
  assert.equal(sockets[0].readyState, 3);
  sockets[1].say({ type: "authenticated", name: "second" });
  await shows(live, A);
  assert.deepEqual(sockets[1].sent.at(-1).known, {});
});

test("what cannot be followed for the moment is asked for again, and kept as old as it is",
  async () => {
    const live = follow({ facilities: [A, B] });
    await shows(live, B);
    const [socket] = sockets;
    socket.close(1006);
    Peer.prototype.answer = function lacking({ type, id, facilities }) {
      if (type !== "subscribe") return;
      const found = facilities.filter((one) => one === A);
      const refused = facilities.filter((one) => one !== A)
        .map((one) => ({ facility_id: one, reason: "unavailable" }));
      this.say({ type: "subscribed", id, facilities: found, subject: null, refused });
    };
    try {
      const asked = () => sockets[1]?.sent.filter(({ type }) => type === "subscribe").length;
      await until("it asks again, twice", () => asked() >= 3);
      assert.deepEqual(sockets[1].sent.at(-1).facilities, [B]);
      sockets[1].beat();
      assert.equal(live.status.refused.get(B), "unavailable");
      assert.ok(live.ageOf(B) > live.ageOf(A) + 1_000, `${live.ageOf(B)} ms`);
      assert.ok(live.age() > 1_000, "and so old is the whole");
    } finally {
      Peer.prototype.answer = answer;
    }
  });

const { answer } = Peer.prototype;
