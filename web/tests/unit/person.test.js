// Whose cookie it is, with a service that says what the test has it say.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Person } from "../../dist/person.js";
import { until } from "../service.js";

const open = [];
afterEach(() => open.splice(0).forEach((person) => person.close()));

/** A browser with a cookie, and its tabs. */
function browser() {
  const jar = { id: "user:anna", session: "one", status: 200, asked: 0 };
  const fetch = async (url) => {
    assert.equal(url.pathname, "/v1/auth/me");
    jar.asked += 1;
    const { id, session, status } = jar;
    if (status === 0) throw new TypeError("no network");
    return Response.json({ id, session, role: "viewer" }, { status });
  };
  const base = new URL("http://service.example");
  const tab = () => {
    const met = [];
    const options = { base, fetch, openMs: 5_000 };
    const person = new Person(options, (who, before) => met.push([who, before]));
    open.push(person);
    return { person, met };
  };
  return { jar, tab };
}

test("it is told whenever it is somebody else, or another session, or nobody", async () => {
  const { jar, tab } = browser();
  const { person, met } = tab();
  const who = async (change) => {
    Object.assign(jar, change);
    const isSame = await person.ask();
    return [isSame, met.splice(0).map(([one]) => one.name ?? one.kind)];
  };
  assert.deepEqual(await who({}), [false, ['["user:anna","one"]']]);
  assert.deepEqual(await who({}), [true, []]);
  assert.deepEqual(await who({ session: "two" }), [false, ['["user:anna","two"]']]);
  assert.deepEqual(await who({ id: "user:ben" }), [false, ['["user:ben","two"]']]);
  assert.deepEqual(await who({ status: 503 }), [false, []]);
  assert.equal(person.isDoubted, true);
  assert.deepEqual(await who({ status: 200 }), [true, []]);
  assert.equal(person.isDoubted, false);
  assert.deepEqual(await who({ status: 401 }), [false, ["nobody"]]);
  assert.deepEqual(await who({ status: 200, id: null, session: null }), [false, [""]]);
});

test("a question that comes during another one is asked, too", async () => {
  const { jar, tab } = browser();
  const { person, met } = tab();
  const first = person.ask();
  jar.id = "user:ben"; // signed in after the first question had been asked
  await Promise.all([first, person.ask(), person.ask()]);
  assert.deepEqual([jar.asked, met.length], [2, 2]);
});

test("a tab finds out what another tab has found out", async () => {
  const { jar, tab } = browser();
  const one = tab();
  await one.person.ask();
  Object.assign(jar, { id: "user:ben", session: "two" });
  const two = tab();
  await two.person.ask();
  await until("the other one was told", () => one.met.length === 2);
  assert.equal(one.met.at(-1)[0].name, '["user:ben","two"]');
  const { asked } = jar;
  await two.person.ask();
  await one.person.ask();
  assert.equal(jar.asked, asked + 2, "and then it is quiet");
});

test("where it cannot be found out at first, that is told once", async () => {
  const { jar, tab } = browser();
  const { person, met } = tab();
  jar.status = 0;
  await person.ask();
  assert.deepEqual(met.map(([{ kind }]) => kind), ["unknown"]);
  jar.status = 200;
  await person.ask();
  assert.deepEqual(met.map(([{ kind }]) => kind), ["unknown", "known"]);
});
