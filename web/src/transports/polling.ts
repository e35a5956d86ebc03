// The last way: it asks again and again.
import type { Listing, Summary, Wish } from "../messages.js";
import type { Polled } from "../store.js";
import {
  type Link,
  type Sink,
  type Surroundings,
  type Transport,
  Ending,
  NotOpen,
  credential,
} from "./transport.js";

/** Up to so many facilities are asked for one by one: then unchanged ones cost no body. */
const ONE_BY_ONE = 10;
/** Facilities of one request for several; more make an address that proxies refuse. */
const TOGETHER = 150;
const PAGE = 500;

export const polling: Transport = {
  name: "polling",
  gapMs: 1_000, // each change is a round of requests
  async open(surroundings, sink, wish) {
    const polls = new Polls(surroundings, sink, wish);
    await polls.round();
    return polls;
  },
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer I)[] ? I[] : T[K] };

/** An answer that says to come back later. */
class Later extends Error {
  constructor(readonly ms: number) {
    super("the service asks to come back later");
  }
}

class Refused extends Error {}

interface Answer {
  /** `null`: it has not changed. */
  body: unknown;
  etag: string | null;
  /** As of when it is exact, at least, in the time of `performance.now`. */
  at: number;
  status: number;
}

class Polls implements Link {
  readonly #around: Surroundings;
  readonly #sink: Sink;
  readonly #ending = new Ending();
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wish: Wish;
  #isAsking = false;
  #isOpen = false;

  constructor(around: Surroundings, sink: Sink, wish: Wish) {
    [this.#around, this.#sink, this.#wish] = [around, sink, wish];
  }

  get ended() {
    return this.#ending.promise;
  }

  follow(wish: Wish): void {
    this.#wish = wish;
    void this.round();
  }

  check(): void {
    void this.round();
  }

  /** Each request asks for the credential; but what is shown may be of somebody else's. */
  renew(): boolean {
    return false;
  }

  close(): void {
    this.#end("closed");
  }

  /** Asks once, and later again. */
  async round(): Promise<void> {
    if (this.#isAsking || this.#ending.isOver) return;
    this.#isAsking = true;
    clearTimeout(this.#timer);
    let wait = this.#around.pollMs;
    const wish = this.#wish;
    try {
      this.#sink.polled(await this.#ask(wish));
    } catch (error) {
      if (this.#ending.isOver) return;
      if (error instanceof Refused) {
        this.#ending.end({ kind: "refused", reason: error.message });
        return this.#end(error.message);
      }
      if (!(error instanceof Later)) {
        this.#end(String(error));
        if (!this.#isOpen) throw new NotOpen(`no figures could be read: ${String(error)}`);
        return;
      }
      if (!this.#isOpen) {
        // Perhaps another way is open then.
        this.#ending.end({ kind: "told", reason: error.message, retryMs: error.ms });
        return this.#end(error.message);
      }
      wait = error.ms;
    } finally {
      this.#isAsking = false;
    }
    this.#isOpen = true;
    if (this.#ending.isOver) return;
    if (wish !== this.#wish) wait = 0;
    this.#timer = setTimeout(() => void this.round(), wait);
  }

  #end(reason: string): void {
    clearTimeout(this.#timer);
    this.#ending.end({ kind: "lost", reason });
    this.#abort.abort();
  }

  async #ask(wish: Wish): Promise<Polled> {
    const polled: Mutable<Polled> =
      { items: [], isAll: wish.all, totals: null, refused: [], same: [] };
    const ids = [...wish.facilities];
    if (wish.all) {
      await this.#pages(`limit=${PAGE}`, polled);
    } else if (ids.length <= ONE_BY_ONE) {
      await Promise.all(ids.map((id) => this.#one(id, polled)));
    } else {
      for (let at = 0; at < ids.length; at += TOGETHER) {
        const few = ids.slice(at, at + TOGETHER);
        await this.#pages(few.map((id) => `facility_id=${id}`).join("&"), polled);
      }
      polled.totals = null; // those of a part
    }
    if (!wish.all && wish.totals) await this.#totals(polled);
    const found = new Set(polled.items.map((item) => item.summary.facility_id));
    if (wish.all || ids.length > ONE_BY_ONE)
      for (const facility of ids)
        if (!found.has(facility)) polled.refused.push({ facility, reason: "unknown" });
    return polled;
  }

  async #one(facility: string, polled: Mutable<Polled>): Promise<void> {
    const held = this.#around.store.items.get(facility)?.etag;
    const path = `/v1/facilities/${facility}/summaries/today`;
    const { body, etag, at, status } = await this.#get(path, held ?? null);
    if (status === 403) polled.refused.push({ facility, reason: "forbidden" });
    else if (status === 404) polled.refused.push({ facility, reason: "unknown" });
    else if (status === 304) polled.same.push({ facility, at });
    else if (status === 400) polled.refused.push({ facility, reason: "not_an_id" });
    else polled.items.push({ summary: body as Summary, etag, at });
  }

  async #pages(query: string, polled: Mutable<Polled>): Promise<void> {
    let cursor: string | null | undefined = null;
    do {
      const more: string = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
      const { body, at } = await this.#list(`${query}${more}`);
      // Without `fields=totals` each has its blood types.
      const items = body.items as Summary[];
      polled.items.push(...items.map((summary) => ({ summary, etag: null, at })));
      polled.totals = { totals: body.totals, at: Math.min(at, polled.totals?.at ?? at) };
      cursor = body.next_cursor;
    } while (cursor);
  }

  async #totals(polled: Mutable<Polled>): Promise<void> {
    const { body, at } = await this.#list("limit=1&fields=totals");
    polled.totals = { totals: body.totals, at };
  }

  async #list(query: string): Promise<{ body: Listing; at: number }> {
    const { body, at, status } = await this.#get(`/v1/summaries/today?${query}`, null);
    if (status !== 200) throw new Error(`a list of summaries is answered by ${status}`);
    return { body: body as Listing, at };
  }

  async #get(path: string, etag: string | null): Promise<Answer> {
    const { base, clock, fetch, pollMs } = this.#around;
    const headers: Record<string, string> = {
      Accept: "application/json",
      // Not older than two polls are apart. (Without it, `no-store` asks for what is exact now.)
      "Cache-Control": `max-age=${Math.ceil(pollMs / 1_000)}`,
      ...(etag ? { "If-None-Match": etag } : {}),
      ...(await credential(this.#around)),
    };
    const asked = clock.now();
    const options = { headers, cache: "no-store", signal: this.#abort.signal } as const;
    const answer = await fetch(new URL(path, base), options);
    const { status } = answer;
    if (status === 401) throw new Refused("sign in first, or anew");
    if (status === 429 || status === 503) throw new Later(retryAfter(answer, pollMs));
    if (status >= 500) throw new Error(`${path} is answered by ${status}`);
    // An age is in whole seconds, and counts from the answer, which came after the question.
    const age = (Number(answer.headers.get("Age") ?? 0) + 1) * 1_000;
    const body: unknown = status === 200 ? await answer.json() : null;
    return { body, etag: answer.headers.get("ETag"), at: asked - age, status };
  }
}

function retryAfter(answer: Response, otherwise: number): number {
  const seconds = Number(answer.headers.get("Retry-After") ?? NaN);
  return Number.isFinite(seconds) ? Math.max(1, seconds) * 1_000 : otherwise;
}
