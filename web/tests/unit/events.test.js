import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsOf } from "../../dist/transports/events.js";

/** The events of a text that comes in pieces of so many bytes. */
async function read(text, size) {
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size)
        controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  const events = [];
  for await (const event of eventsOf(body)) events.push(event);
  return events;
}

test("events are read the same however the network cuts them", async () => {
  const text =
    "retry: 500\nevent: hello\ndata: {\"a\":\"ä€🩸\"}\n\n: a comment\n\nid: x.1.2\ndata:1\ndata: 2\n\n" +
    "data: without an end";
  const want = [
    { data: '{"a":"ä€🩸"}', id: null },
    { data: "", id: null },
    { data: "1\n2", id: "x.1.2" },
  ];
  for (let size = 1; size < 40; size += 1) {
    assert.deepEqual(await read(text, size), want);
    assert.deepEqual(await read(text.replaceAll("\n", "\r\n"), size), want);
  }
});
