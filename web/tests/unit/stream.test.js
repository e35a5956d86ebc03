// What is read from server-sent events, with a service that says what the test has it say.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../dist/index.js";
import { until } from "../service.js";

const A = "00000000-0000-4000-8000-00000000000a";
const B = "00000000-0000-4000-8000-00000000000b";
const now = () => new Date().toISOString();

/** A service of streams, the newest last. `lacks`: what it cannot find for the moment. */
class Service {
  streams = [];
  lacks = [];

  fetch = async (url, { signal }) => {
    if (!url.pathname.endsWith("/stream")) return new Response(null, { status: 404 });
    const asked = url.searchParams.get("facility_id").split(",");
    let say, end;
    const body = new ReadableStream({
      start: (controller) => {
        say = (message) => {
          const text = `event: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`;
          controller.enqueue(new TextEncoder().encode(text));
        };
        end = () => controller.close();
        signal.addEventListener("abort", () => controller.error(signal.reason));
      },
    });
    const beat = () => say({ type: "heartbeat", exact_as_of: now(), now: now() });
    this.streams.push({ asked, signal, end, beat });
    const facilities = asked.filter((id) => !this.lacks.includes(id));
    const refused = this.lacks.map((id) => ({ facility_id: id, reason: "unavailable" }));
    say({ type: "hello", epoch: "one", heartbeat_ms: 15_000, exact_as_of: null, now: now() });
    say({ type: "subscribed", id: null, facilities, subject: null, refused });
    for (const id of facilities) {
      const summary = { facility_id: id, date: "2026-11-28", version: 1, total_stock: 5 };
      say({ type: "summary", summary, etag: '"1"', as_of: now() });
    }
    beat();
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}

test("what cannot be followed for the moment is as old as it is, and is asked for again",
  async () => {
    const service = new Service();
    const live = connect({
      base: "http://service.example", transports: ["sse"], facilities: [A, B],
      fetch: service.fetch, random: () => 0,
    });
    try {
      await until("it shows both", () => live.summaries.size === 2);
      service.lacks = [B];
      service.streams[0].end();
      await until("it asks again, twice", () => service.streams.length >= 4);
      service.streams.at(-1).beat();
      await until("only A is young", () => live.ageOf(B) > live.ageOf(A) + 1_000);
      assert.equal(live.status.refused.get(B), "unavailable");
      assert.ok(live.age() > 1_000, "and the whole is as old as B");
      const isOpen = service.streams.map(({ signal }) => !signal.aborted);
      assert.deepEqual(isOpen.slice(1, -1), isOpen.slice(1, -1).map(() => false), "one stream");
      service.lacks = [];
      await until("B is followed", () =>
        !live.status.refused.has(B) && live.ageOf(B) < live.ageOf(A) + 500);
    } finally {
      live.close();
    }
  });
