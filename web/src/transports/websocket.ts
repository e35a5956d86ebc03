// The first way: a WebSocket.
import { type FromClient, type FromService, type Wish, NOTHING, instant } from "../messages.js";
import {
  type Link,
  type Sink,
  type Surroundings,
  type Transport,
  Ending,
  NotOpen,
  Watchdog,
  silence,
} from "./transport.js";

/** The most facilities of one message: with the tag of each it stays below 16 KiB. */
const CHUNK = 100;
/** How long a connection that is doubted has for a sign of life. */
const CHECK_MS = 5_000;
/** The time between two messages that set the clock right. */
const SET_CLOCK_MS = 60_000;
/** How long until facilities are asked for again that could not be followed for the moment. */
const AGAIN_MS = 5_000;
const NOT_ALLOWED = 1008;

export const websocket: Transport = {
  name: "websocket",
  open: (surroundings, sink, wish) => new Promise((opened, failed) => {
    if (!surroundings.webSocket) return failed(new NotOpen("this browser has no WebSocket"));
    new Socket(surroundings, sink, wish, opened, failed);
  }),
};

class Socket implements Link {
  readonly #around: Surroundings;
  readonly #sink: Sink;
  readonly #socket: WebSocket;
  readonly #ending = new Ending();
  readonly #asked: number;
  readonly #opened: (link: Link) => void;
  readonly #failed: (error: NotOpen) => void;
  readonly #watchdog: Watchdog;
  readonly #pings = new Map<number, number>();
  #clockTimer: ReturnType<typeof setInterval> | undefined;
  #wish: Wish;
  #isGreeted = false;
  #isSignedIn: boolean;
  /** What was asked for, and what the service has confirmed. */
  #sent = { facilities: new Set<string>(), all: false, totals: false };
  #covers = { facilities: new Set<string>(), all: false, totals: false };
  #number = 0;
  #retryMs: number | null = null;
  #reason = "the connection was lost";

  constructor(
    around: Surroundings,
    sink: Sink,
    wish: Wish,
    opened: (link: Link) => void,
    failed: (error: NotOpen) => void,
  ) {
    [this.#around, this.#sink, this.#wish] = [around, sink, wish];
    [this.#opened, this.#failed] = [opened, failed];
    this.#isSignedIn = around.token === null;
    const url = new URL("/v1/live", around.base);
    url.protocol = url.protocol.replace("http", "ws");
    this.#asked = around.clock.now();
    this.#socket = new around.webSocket!(url, "facility-summary.v1");
    this.#socket.onmessage = ({ data }) => this.#take(data as string);
    this.#socket.onclose = ({ code }) => this.#over(code);
    this.#socket.onerror = () => {}; // the close says the same
    this.#watchdog = new Watchdog(around.openMs, () => this.#giveUp());
  }

  get ended() {
    return this.#ending.promise;
  }

  follow(wish: Wish): void {
    this.#wish = wish;
    if (this.#isGreeted && this.#isSignedIn) this.#ask();
  }

  check(): void {
    if (!this.#isGreeted) return;
    this.#ping();
    this.#watchdog.within(CHECK_MS);
  }

  renew(): boolean {
    if (this.#around.token === null) return false;
    void this.#signIn();
    return true;
  }

  close(): void {
    this.#reason = "closed";
    this.#end(1000);
  }

  #giveUp(): void {
    this.#reason = "nothing came for too long";
    this.#end(1006);
  }

  /** Ends it from here. */
  #end(code: number): void {
    this.#over(code);
    this.#socket.close();
  }

  #over(code: number): void {
    this.#watchdog.stop();
    clearInterval(this.#clockTimer);
    if (this.#ending.isOver) return;
    const reason = this.#reason;
    const end =
      code === NOT_ALLOWED
        ? ({ kind: "refused", reason } as const)
        : this.#retryMs !== null || code === 1012 || code === 1013
          ? ({ kind: "told", reason, retryMs: this.#retryMs } as const)
          : ({ kind: "lost", reason } as const);
    this.#ending.end(end);
    if (!this.#isGreeted) this.#failed(new NotOpen("no WebSocket could be opened"));
  }

  #take(text: string): void {
    if (this.#ending.isOver) return;
    this.#watchdog.heard();
    const message = JSON.parse(text) as FromService;
    if ("now" in message) this.#setClock(message);
    if (message.type === "hello") return this.#greeted(message);
    if ("retry_ms" in message) this.#retryMs = message.retry_ms ?? null;
    if (message.type === "error") this.#reason = message.detail;
    if (message.type === "draining") this.#reason = "the service asks to come back later";
    if (message.type === "subscribed") {
      for (const id of message.facilities) this.#covers.facilities.add(id);
      if (message.subject) this.#covers[message.subject] = true;
      this.#refused(message.refused);
    }
    if (message.type === "authenticated" && !this.#isSignedIn) {
      this.#isSignedIn = true;
      this.#ask();
    }
    this.#sink.message(message, this.#covers);
    // The end would come by itself, seconds later.
    if (message.type === "error" && message.code === "unauthorized") this.#end(NOT_ALLOWED);
  }

  /** `hello` was made after the attempt began, and `pong` after its ping. */
  #setClock(message: FromService & { now: string }): void {
    const now = instant(message.now);
    if (now === null) return;
    const { clock } = this.#around;
    if (message.type === "hello") return clock.answered(now, this.#asked);
    const asked = message.type === "pong" ? this.#pings.get(message.id as number) : undefined;
    if (asked === undefined) return clock.heard(now);
    this.#pings.delete((message as { id: number }).id);
    clock.answered(now, asked);
  }

  #greeted(message: FromService & { type: "hello" }): void {
    this.#isGreeted = true;
    this.#watchdog.heard(silence(message.heartbeat_ms));
    this.#clockTimer = setInterval(() => this.#ping(), SET_CLOCK_MS);
    this.#sink.message(message, NOTHING);
    this.#opened(this);
    if (this.#isSignedIn) this.#ask();
    else void this.#signIn();
  }

  async #signIn(): Promise<void> {
    try {
      this.#send({ type: "auth", token: await this.#around.token!() });
    } catch (error) {
      this.#reason = `no credential could be had: ${String(error)}`;
      this.#end(1006);
    }
  }

  /** Asks for what is wished for and not followed, and leaves the rest. */
  #ask(): void {
    const { store } = this.#around;
    const wished = [...this.#wish.facilities];
    const added = wished.filter((id) => !this.#sent.facilities.has(id));
    const left = [...this.#sent.facilities].filter((id) => !this.#wish.facilities.has(id));
    for (let at = 0; at < left.length; at += CHUNK)
      this.#send({ type: "unsubscribe", facilities: left.slice(at, at + CHUNK) });
    for (let at = 0; at < added.length; at += CHUNK) {
      const facilities = added.slice(at, at + CHUNK);
      const known = store.known(facilities);
      const epoch = store.epoch === null ? {} : { epoch: store.epoch };
      this.#send({ type: "subscribe", id: ++this.#number, facilities, known, ...epoch });
    }
    for (const subject of ["all", "totals"] as const) {
      if (this.#wish[subject] === this.#sent[subject]) continue;
      const type = this.#wish[subject] ? "subscribe" : "unsubscribe";
      this.#send({ type, id: ++this.#number, subject });
      this.#sent[subject] = this.#wish[subject];
      if (!this.#wish[subject]) this.#covers[subject] = false;
    }
    left.forEach((id) => this.#covers.facilities.delete(id));
    this.#sent.facilities = new Set(wished);
  }

  #refused(refused: readonly { facility_id?: string; reason: string }[]): void {
    const later = refused.filter(({ reason }) => reason === "unavailable");
    if (later.length === 0) return;
    setTimeout(() => {
      if (this.#ending.isOver) return;
      later.forEach(({ facility_id }) => this.#sent.facilities.delete(facility_id ?? ""));
      this.#ask();
    }, AGAIN_MS);
  }

  #ping(): void {
    const id = ++this.#number;
    this.#pings.set(id, this.#around.clock.now());
    this.#send({ type: "ping", id });
  }

  #send(message: FromClient): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }
}
