import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceClock } from "../../dist/clock.js";

/** A clock with hands that the test moves. */
function hands() {
  const time = { now: 1_000, wall: 50_000_000 };
  time.pass = (ms) => {
    time.now += ms;
    time.wall += ms;
  };
  time.clock = new ServiceClock(() => time.now, () => time.wall);
  return time;
}

test("the service's time is never taken to be earlier than it can be", () => {
  const time = hands();
  assert.equal(time.clock.latest(), null);
  const asked = time.clock.now();
  time.pass(300); // on the way, and back
  time.clock.answered(7_000, asked);
  // It may have shown 7000 when it was asked, so 7300 by now.
  assert.equal(time.clock.latest(), 7_300);
  time.pass(100);
  assert.equal(time.clock.latest(), 7_400);
  time.clock.heard(7_200);
  assert.equal(time.clock.latest(), 7_400, "an older message says nothing");
  time.clock.heard(9_000);
  assert.equal(time.clock.latest(), 9_000, "it shows at least that");
});

test("a machine that has slept knows nothing until it has asked again", () => {
  const time = hands();
  time.clock.answered(7_000, time.clock.now());
  time.pass(60_000);
  assert.equal(time.clock.hasSlept(), false);
  assert.notEqual(time.clock.latest(), null);
  time.wall += 3_600_000; // performance.now stood still
  assert.equal(time.clock.hasSlept(), true);
  assert.equal(time.clock.latest(), null);
  assert.equal(time.clock.hasSlept(), false, "that is said once");
  time.clock.answered(9_000, time.clock.now());
  assert.equal(time.clock.latest(), 9_000);
});

test("a clock of this machine that is set changes no age", () => {
  const time = hands();
  time.clock.answered(7_000, time.clock.now());
  time.wall -= 86_400_000;
  assert.equal(time.clock.latest(), 7_000);
});
