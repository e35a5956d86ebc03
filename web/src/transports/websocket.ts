// The first way: a WebSocket.
import { Budget } from "../budget.js";
import { type FromClient, type FromService, type Wish, NOTHING, instant } from "../messages.js";
import {
  type Link,
  type Sink,
  type Surroundings,
  type Transport,
  Again,
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
const NOT_ALLOWED = 1008;
/** Refusals that are over after a time, which is this one, give or take a half. */
const TOO_MANY = ["too_many_messages", "too_many_requests"];
const TOO_MANY_MS = 20_000;
/** The end after a refusal would come by itself, seconds later. */
const FINAL = ["unauthorized", ...TOO_MANY];

const SUBJECTS = ["all", "totals"] as const;
type Subject = (typeof SUBJECTS)[number];

interface Sent {
  facilities: Map<string, number>;
  subjects: Map<Subject, number>;
}

export const websocket: Transport = {
  name: "websocket",
  gapMs: 250,
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
  #signsInSoon = false;
  /** What was asked for, each with the number of the message. */
  readonly #sent: Sent = { facilities: new Map(), subjects: new Map() };
  /**
   * What was asked for, is left, and the service has not been told so. What comes back meanwhile
   * is left first all the same: the service must not believe that it is still here.
   */
  readonly #left = { facilities: new Set<string>(), subjects: new Set<Subject>() };
  readonly #budget: Budget;
  /** What could not be followed for the moment. */
  readonly #lacking = new Set<string>();
  readonly #again: Again;
  #askTimer: ReturnType<typeof setTimeout> | undefined;
  /** What the service has confirmed. */
  #covers = { facilities: new Set<string>(), all: false, totals: false };
  #number = 0;
  #retryMs: number | null = null;
  #isTooMany = false;
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
    this.#budget = new Budget(() => around.clock.now());
    this.#again = new Again(around.random, () => this.#askAgain());
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
    const { facilities, subjects } = this.#sent;
    for (const id of facilities.keys()) {
      if (wish.facilities.has(id)) continue;
      facilities.delete(id);
      this.#lacking.delete(id);
      this.#covers.facilities.delete(id);
      this.#left.facilities.add(id);
    }
    for (const subject of subjects.keys()) {
      if (wish[subject]) continue;
      subjects.delete(subject);
      this.#covers[subject] = false;
      this.#left.subjects.add(subject);
    }
    if (this.#isGreeted && this.#isSignedIn) this.#ask();
  }

  check(): void {
    if (this.#isGreeted && this.#ping()) this.#watchdog.within(CHECK_MS);
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
    clearTimeout(this.#askTimer);
    this.#again.stop();
    if (this.#ending.isOver) return;
    const reason = this.#reason;
    const end =
      code === NOT_ALLOWED && !this.#isTooMany
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
    if (message.type === "draining") this.#retryMs = message.retry_ms;
    if (message.type === "error") this.#failedBy(message);
    if (message.type === "draining") this.#reason = "the service asks to come back later";
    if (message.type === "subscribed") {
      this.#subscribed(message);
    }
    if (message.type === "authenticated" && !this.#isSignedIn) {
      this.#isSignedIn = true;
      this.#ask();
    }
    this.#sink.message(message, this.#covers);
    if (message.type === "error" && FINAL.includes(message.code)) this.#end(NOT_ALLOWED);
    if (message.type === "error" && message.code === "other_principal") this.#end(1000);
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
    if (this.#signsInSoon) return;
    this.#signsInSoon = true;
    while (!this.#budget.take())
      await new Promise((fulfil) => setTimeout(fulfil, this.#budget.wait()));
    this.#signsInSoon = false;
    try {
      const token = await this.#around.token!();
      this.#send({ type: "auth", token });
    } catch (error) {
      this.#reason = `no credential could be had: ${String(error)}`;
      this.#end(1006);
    }
  }

  /** Asks for what is wished for and not followed, and leaves the rest; as fast as it may. */
  #ask(): void {
    clearTimeout(this.#askTimer);
    for (let next = this.#next(); next; next = this.#next()) {
      if (!this.#budget.take()) {
        this.#askTimer = setTimeout(() => this.#ask(), this.#budget.wait());
        return;
      }
      this.#send(next());
    }
  }

  /** What makes the next message, and notes that it was sent. */
  #next(): (() => FromClient) | null {
    const left = [...this.#left.facilities].slice(0, CHUNK);
    if (left.length > 0) {
      return () => {
        left.forEach((id) => this.#left.facilities.delete(id));
        return { type: "unsubscribe", facilities: left };
      };
    }
    const [subject] = this.#left.subjects;
    if (subject) {
      return () => {
        this.#left.subjects.delete(subject);
        return { type: "unsubscribe", id: ++this.#number, subject };
      };
    }
    const { facilities, subjects } = this.#sent;
    const added = [...this.#wish.facilities].filter((id) => !facilities.has(id)).slice(0, CHUNK);
    if (added.length > 0) {
      return () => {
        const { store } = this.#around;
        const id = ++this.#number;
        added.forEach((facility) => facilities.set(facility, id));
        const epoch = store.epoch === null ? {} : { epoch: store.epoch };
        const known = store.known(added);
        return { type: "subscribe", id, facilities: added, known, ...epoch };
      };
    }
    const wished = SUBJECTS.find((one) => this.#wish[one] && !subjects.has(one));
    if (!wished) return null;
    return () => {
      const id = ++this.#number;
      subjects.set(wished, id);
      return { type: "subscribe", id, subject: wished };
    };
  }

  /** An answer to what was left since says nothing of what is followed now. */
  #subscribed(message: FromService & { type: "subscribed" }): void {
    const { facilities, subjects } = this.#sent;
    for (const id of message.facilities)
      if (facilities.get(id) === message.id) this.#covers.facilities.add(id);
    const { subject } = message;
    if (subject && subjects.get(subject) === message.id) this.#covers[subject] = true;
    for (const { facility_id, reason } of message.refused)
      if (reason === "unavailable" && facilities.get(facility_id ?? "") === message.id)
        this.#lacking.add(facility_id!);
    for (const id of message.facilities) this.#lacking.delete(id);
    if (this.#lacking.size > 0) this.#again.later();
    else this.#again.reset();
  }

  #askAgain(): void {
    this.#lacking.forEach((id) => this.#sent.facilities.delete(id));
    this.#lacking.clear();
    this.#ask();
  }

  #failedBy({ code, detail, retry_ms }: FromService & { type: "error" }): void {
    this.#reason = detail;
    this.#isTooMany = TOO_MANY.includes(code);
    if (this.#isTooMany) this.#retryMs = TOO_MANY_MS * (0.5 + this.#around.random());
    // Another connection is for the other one: at once.
    else if (code === "other_principal") this.#retryMs = 0;
    else if (retry_ms !== undefined) this.#retryMs = retry_ms;
  }

  /** Returns whether one more message may be sent. */
  #ping(): boolean {
    if (!this.#budget.take()) return false;
    const id = ++this.#number;
    this.#pings.set(id, this.#around.clock.now());
    this.#send({ type: "ping", id });
    return true;
  }

  #send(message: FromClient): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }
}
