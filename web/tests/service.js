// The real service, for tests: started on SQLite in a temporary folder, and stopped with the test.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";

const BINARY = process.env.SERVICE;

/** Waits until a condition holds; fails after a while with what was waited for. */
export async function until(what, condition, ms = 30_000) {
  const end = performance.now() + ms;
  for (;;) {
    let last;
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      if (error.code === "ERR_ASSERTION") throw error;
      last = error;
    }
    if (performance.now() > end) throw new Error(`gave up waiting until ${what}: ${last}`);
    await new Promise((fulfil) => setTimeout(fulfil, 20));
  }
}

const isKey = (line) => line.startsWith("fs_");

export class Service {
  #folder = mkdtempSync(join(tmpdir(), "facility-summary-web-"));
  #child = null;
  #key = null;
  address = null;

  static async start(settings = {}) {
    if (!BINARY) throw new Error("SERVICE names no binary: run web/test.sh");
    const service = new Service();
    await service.up(settings);
    return service;
  }

  /** A service with sign-in; requests of the test are those of an admin. */
  static async signedIn() {
    const service = new Service();
    const settings = { FACILITY_SUMMARY__AUTH__SIGN_IN: "on" };
    const words = ["key", "add", "--role", "admin", "--name", "the test"];
    const options = { ...service.#options(settings), stdio: "pipe", encoding: "utf8" };
    service.#key = execFileSync(BINARY, words, options).split("\n").find(isKey);
    await service.up(settings);
    return service;
  }

  #options(settings) {
    return {
      cwd: this.#folder,
      env: {
        ...process.env,
        DATABASE_URL: `sqlite://${this.#folder}/facility-summary.db`,
        BIND_ADDR: "127.0.0.1:0",
        FACILITY_SUMMARY__LOG__FORMAT: "json",
        FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS: "1",
        FACILITY_SUMMARY__LIVE__DRAIN_SPREAD_SECONDS: "1",
        ...settings,
      },
      stdio: ["ignore", "pipe", "inherit"],
    };
  }

  /** Starts it, again on the same data. */
  async up(settings = {}) {
    const words = ["--pdeathsig", "KILL", "--", BINARY, "serve"];
    this.#child = spawn("setpriv", words, this.#options(settings));
    const lines = createInterface({ input: this.#child.stdout });
    this.address = await new Promise((fulfil, reject) => {
      lines.on("line", (line) => {
        try {
          const { fields } = JSON.parse(line);
          if (fields.message === "listening") fulfil(fields.address);
        } catch {
          // a line of another form
        }
      });
      this.#child.on("exit", (code) => reject(new Error(`the service ended with ${code}`)));
    });
    await until("it is ready", async () => (await fetch(`${this.base}/health/ready`)).ok);
  }

  async down(signal = "SIGTERM") {
    const gone = new Promise((fulfil) => this.#child.once("exit", fulfil));
    this.#child.kill(signal);
    await gone;
  }

  async end() {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) await this.down("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get base() {
    return `http://${this.address}`;
  }

  async #send(method, path, body) {
    const headers = {
      "Content-Type": "application/json",
      ...(this.#key ? { Authorization: `Bearer ${this.#key}` } : {}),
    };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await fetch(`${this.base}${path}`, { method, headers, ...sent });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  /** A key that may see these facilities. */
  async key(facilities) {
    const wish = { name: "a viewer", role: "viewer", facilities };
    return (await this.#send("POST", "/v1/api-keys", wish)).key;
  }

  /** A person who may see these facilities; signs in by this name and password. */
  user(name, facilities) {
    const password = `a long password of ${name}`;
    const words = ["user", "add", name, "--role", "viewer"];
    const seen = facilities.flatMap((id) => ["--facility", id]);
    const options = this.#options({ FACILITY_SUMMARY__AUTH__SIGN_IN: "on" });
    const stdio = "pipe";
    execFileSync(BINARY, [...words, ...seen], { ...options, stdio, input: `${password}\n` });
    return { name, password };
  }

  async revoke(key) {
    await this.#send("DELETE", `/v1/api-keys/${key.split("_")[1]}`);
  }

  /** A facility with a blood bank of the same id. */
  async facility(name, timezone = "UTC") {
    const id = randomUUID();
    await this.#send("PUT", `/v1/facilities/${id}`, { name, timezone });
    await this.#send("PUT", `/v1/blood-banks/${id}`, { facility_id: id, name });
    return id;
  }

  /** Sets the stock of a facility. */
  async stock(facility, quantity) {
    const data = { inventory_id: facility, blood_bank_id: facility, blood_type: "O+", quantity };
    await this.#send("POST", "/v1/events", {
      specversion: "1.0",
      id: randomUUID(),
      source: "/tests",
      type: "inventory.set",
      time: new Date().toISOString(),
      data,
    });
  }

  /** The value of a metric, by its name with its labels. */
  async metric(name) {
    const text = await (await fetch(`${this.base}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${name} `));
    return line === undefined ? null : Number(line.slice(name.length + 1));
  }
}
