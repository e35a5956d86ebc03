import assert from "node:assert/strict";
import { test } from "node:test";
import { BackOff } from "../../dist/back-off.js";

test("the bound grows by half each time from 1 s up to 30 s, and begins anew", () => {
  const backOff = new BackOff(() => 1);
  const bounds = Array.from({ length: 12 }, () => backOff.next());
  assert.deepEqual(bounds.slice(0, 4), [1_000, 1_500, 2_250, 3_375]);
  assert.ok(bounds.every((ms, at) => at === 0 || ms >= bounds[at - 1]));
  assert.equal(bounds.at(-1), 30_000);
  backOff.reset();
  assert.equal(backOff.next(), 1_000);
});

test("the wait is any time up to the bound", () => {
  const backOff = new BackOff();
  for (let at = 0; at < 50; at += 1) backOff.next();
  const waits = Array.from({ length: 400 }, () => backOff.next());
  assert.ok(waits.every((ms) => ms >= 0 && ms <= 30_000));
  for (const [from, to] of [[0, 7_500], [7_500, 15_000], [15_000, 22_500], [22_500, 30_000]])
    assert.ok(waits.some((ms) => ms >= from && ms < to), `some wait ${from} to ${to} ms`);
});
