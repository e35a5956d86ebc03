// The second way: server-sent events. They are read by `fetch`, and not by `EventSource`: that one
// sends no `Authorization`, does not say why it failed, and comes back when it likes.
import { type FromService, type Wish, NOTHING, instant } from "../messages.js";
import {
  type Link,
  type Sink,
  type Surroundings,
  type Transport,
  Again,
  Ending,
  NotOpen,
  Watchdog,
  credential,
  silence,
} from "./transport.js";

/** More facilities make an address that proxies refuse; then all are followed instead. */
const MOST_FACILITIES = 150;

/** Ids of last events, by what was followed. */
type Places = Map<string, string>;

const places = new WeakMap<object, Places>();

export const sse: Transport = {
  name: "sse",
  gapMs: 1_000, // each change is another request
  async open(surroundings, sink, wish) {
    const events = new EventStreams(surroundings, sink);
    events.follow(wish);
    await events.opened;
    return events;
  },
};

/** What each stream has to follow. */
function queries(wish: Wish): { query: string; covers: Wish }[] {
  const found: { query: string; covers: Wish }[] = [];
  const { facilities } = wish;
  const all = wish.all || facilities.size > MOST_FACILITIES;
  if (all) found.push({ query: "subject=all", covers: { facilities, all: true, totals: false } });
  else if (facilities.size > 0) {
    const query = `facility_id=${[...facilities].sort().join(",")}`;
    found.push({ query, covers: { facilities, all: false, totals: false } });
  }
  if (wish.totals || found.length === 0)
    found.push({ query: "subject=totals", covers: { ...NOTHING, totals: true } });
  return found;
}

/** One stream, or two where there are figures and totals. */
class EventStreams implements Link {
  readonly #around: Surroundings;
  readonly #sink: Sink;
  readonly #ending = new Ending();
  #streams: EventStream[] = [];
  #places: Places;
  /** Which streams lack something for the moment. */
  readonly #lacking = new Set<EventStream>();
  readonly #again: Again;
  opened!: Promise<unknown>;

  constructor(around: Surroundings, sink: Sink) {
    [this.#around, this.#sink] = [around, sink];
    this.#again = new Again(around.random, () => this.#anew());
    this.#places = places.get(around.store) ?? new Map<string, string>();
    places.set(around.store, this.#places);
  }

  get ended() {
    return this.#ending.promise;
  }

  follow(wish: Wish): void {
    const before = this.#streams;
    const left = new Map(before.map((stream) => [stream.query, stream]));
    this.#streams = queries(wish).map(({ query, covers }) => {
      const same = left.get(query);
      left.delete(query);
      return same ?? this.#stream(query, covers);
    });
    left.forEach((stream) => stream.close());
    this.#watch(before);
  }

  #stream(query: string, covers: Wish): EventStream {
    const stream: EventStream = new EventStream(
      this.#around, this.#sink, query, covers, this.#places, (isWhole) => {
        if (isWhole) this.#lacking.delete(stream);
        else this.#lacking.add(stream);
        const lacking = this.#streams.some((one) => this.#lacking.has(one));
        if (!isWhole) this.#again.later();
        else if (!lacking) this.#again.reset();
      });
    return stream;
  }

  /** Opens those anew that lack something: a stream asks for what it follows only once. */
  #anew(): void {
    if (this.#ending.isOver) return;
    const before = this.#streams.filter((stream) => !this.#lacking.has(stream));
    const lacking = this.#streams.filter((stream) => this.#lacking.has(stream));
    this.#lacking.clear();
    this.#streams = this.#streams.map((stream) =>
      lacking.includes(stream) ? this.#stream(stream.query, stream.wished) : stream);
    lacking.forEach((stream) => stream.close());
    this.#watch(before, false);
  }

  #watch(before: EventStream[], isFirst = before.length === 0): void {
    for (const stream of this.#streams) {
      if (before.includes(stream)) continue;
      void stream.ended.then((end) => {
        if (!this.#streams.includes(stream)) return;
        this.#ending.end(end);
        this.close();
      });
      if (!isFirst)
        stream.opened.catch((error: Error) => {
          this.#ending.end({ kind: "lost", reason: error.message });
          this.close();
        });
    }
    if (isFirst) this.opened = Promise.all(this.#streams.map((stream) => stream.opened));
    this.opened.catch(() => this.close());
  }

  check(): void {
    this.#streams.forEach((stream) => stream.check());
  }

  renew(): boolean {
    return false;
  }

  close(): void {
    const streams = this.#streams;
    this.#again.stop();
    this.#streams = [];
    streams.forEach((stream) => stream.close());
    this.#ending.end({ kind: "lost", reason: "closed" });
  }
}

class EventStream {
  readonly query: string;
  /** What it is to follow. */
  readonly wished: Wish;
  readonly opened: Promise<void>;
  readonly #around: Surroundings;
  readonly #sink: Sink;
  /** What it follows. */
  #covers: Wish = NOTHING;
  readonly #places: Places;
  readonly #subscribed: (isWhole: boolean) => void;
  readonly #ending = new Ending();
  readonly #abort = new AbortController();
  #watchdog: Watchdog;
  #heartbeatMs = 15_000;
  #heardAt: number;
  #isGreeted = false;
  #greeted!: () => void;
  #failed!: (error: NotOpen) => void;

  /** `subscribed` is told whether there is nothing that it could not follow for the moment. */
  constructor(
    around: Surroundings,
    sink: Sink,
    query: string,
    wished: Wish,
    places: Places,
    subscribed: (isWhole: boolean) => void,
  ) {
    [this.#around, this.#sink, this.query] = [around, sink, query];
    [this.wished, this.#places, this.#subscribed] = [wished, places, subscribed];
    this.#heardAt = around.clock.now();
    this.opened = new Promise((fulfil, reject) => {
      [this.#greeted, this.#failed] = [fulfil, reject];
    });
    this.#watchdog = new Watchdog(around.openMs, () => this.#lost("nothing came for too long"));
    void this.#run();
  }

  get ended() {
    return this.#ending.promise;
  }

  /** There is no ping: where the last sign of life is long ago, it counts as lost. */
  check(): void {
    if (!this.#isGreeted) return;
    if (this.#around.clock.now() - this.#heardAt > 1.5 * this.#heartbeatMs)
      this.#lost("nothing came for too long");
  }

  close(): void {
    this.#lost("closed");
  }

  #lost(reason: string): void {
    this.#watchdog.stop();
    this.#ending.end({ kind: "lost", reason });
    this.#failed(new NotOpen(`no events could be read: ${reason}`));
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { clock, base, fetch } = this.#around;
    const last = this.#lastId();
    try {
      const headers: Record<string, string> = {
        Accept: "text/event-stream",
        ...(last ? { "Last-Event-ID": last } : {}),
        ...(await credential(this.#around)),
      };
      const asked = clock.now();
      const url = new URL(`/v1/stream?${this.query}`, base);
      const options = { headers, cache: "no-store", signal: this.#abort.signal } as const;
      const answer = await fetch(url, options);
      const type = answer.headers.get("Content-Type") ?? "none";
      if (answer.status !== 200 || !type.startsWith("text/event-stream") || !answer.body)
        return this.#lost(`the answer is ${answer.status} with the content type ${type}`);
      for await (const event of eventsOf(answer.body)) {
        if (this.#ending.isOver) return;
        this.#take(event, asked);
      }
      this.#lost("the stream has ended");
    } catch (error) {
      this.#lost(String(error));
    }
  }

  /** The id of the last event, where everything that came before it is still held. */
  #lastId(): string | undefined {
    const { items, refused } = this.#around.store;
    const isHeld = (id: string) => items.has(id) || refused.has(id);
    return [...this.wished.facilities].every(isHeld) ? this.#places.get(this.query) : undefined;
  }

  #take({ data, id }: ServerEvent, asked: number): void {
    this.#heardAt = this.#around.clock.now();
    this.#watchdog.heard();
    if (data !== "") {
      const message = JSON.parse(data) as FromService;
      this.#message(message, asked);
    }
    if (id !== null && this.#covers !== NOTHING) this.#places.set(this.query, id);
  }

  #message(message: FromService, asked: number): void {
    const { clock } = this.#around;
    const now = "now" in message ? instant(message.now) : null;
    switch (message.type) {
      case "hello":
        if (now !== null) clock.answered(now, asked);
        this.#heartbeatMs = message.heartbeat_ms;
        this.#watchdog.heard(silence(message.heartbeat_ms));
        this.#isGreeted = true;
        this.#greeted();
        break;
      case "subscribed": {
        const facilities = new Set(message.facilities);
        this.#covers = message.subject ? this.wished : { ...this.wished, facilities };
        this.#subscribed(!message.refused.some(({ reason }) => reason === "unavailable"));
        break;
      }
      case "draining":
      case "full":
      case "unavailable":
        this.#told(message.retry_ms, "detail" in message ? message.detail : "come back later");
        return;
      case "expired":
      case "forbidden":
        return this.#refused(message.detail);
      case "error":
        if (message.retry_ms !== undefined) return this.#refused(message.detail);
    }
    if (now !== null && message.type !== "hello") clock.heard(now);
    this.#sink.message(message, this.#covers);
  }

  #told(retryMs: number, reason: string): void {
    this.#ending.end({ kind: "told", reason, retryMs });
    this.#greeted();
    this.#lost(reason);
  }

  #refused(reason: string): void {
    this.#ending.end({ kind: "refused", reason });
    this.#greeted();
    this.#lost(reason);
  }
}

interface ServerEvent {
  data: string;
  id: string | null;
}

/** The events of a body: what the standard of `EventSource` says, as far as the service uses it. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an event without its end does not count
      rest = (rest + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n");
      const events = rest.split("\n\n");
      rest = events.pop() ?? "";
      yield* events.map(parse);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(text: string): ServerEvent {
  const data: string[] = [];
  let id: string | null = null;
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    if (name === "id") id = value;
  }
  return { data: data.join("\n"), id };
}
