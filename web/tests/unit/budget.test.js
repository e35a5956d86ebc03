import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "../../dist/budget.js";

test("whoever sends all that it may is never sent away by the service", () => {
  // The service's: 100 at once, and 100 more in a minute.
  let [now, left] = [0, 100];
  const budget = new Budget(() => now);
  let sent = 0;
  for (; now < 600_000; now += 7) {
    left = Math.min(100, left + (7 * 100) / 60_000);
    while (budget.take()) [sent, left] = [sent + 1, left - 1];
    assert.ok(left >= 40, `${left} are left at ${now} ms`);
  }
  assert.ok(sent > 500, `but it sends something: ${sent}`);
});

test("after the wait that it says there is a message, and not before", () => {
  let now = 0;
  const budget = new Budget(() => now);
  assert.equal(budget.wait(), 0);
  while (budget.take());
  const wait = budget.wait();
  now += wait - 2;
  assert.equal(budget.take(), false);
  now += 2;
  assert.equal(budget.take(), true);
});
