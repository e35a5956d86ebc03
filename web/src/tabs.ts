// One connection for all tabs of an origin. The holder is the tab that has a lock (Web Locks): it
// has the connection, and hands on what comes (BroadcastChannel). When it is closed or crashes, the
// browser gives the lock to the next tab. README.md says why this is no SharedWorker.
import type { ServiceClock } from "./clock.js";
import type { Phase } from "./engine.js";
import { type FromService, type Wish, union } from "./messages.js";
import type { Polled, Shown, Stall, Store } from "./store.js";

/** What a tab that has just come needs. Times are those of the holder. */
interface Snapshot {
  items: Shown[];
  totals: Store["totals"];
  epoch: string | null;
  stalled: Stall | null;
  refused: [string, string][];
}

/** What tabs tell each other. */
type Word =
  /** A new holder asks what the others follow. */
  | { do: "who" }
  | { do: "follow"; tab: string; wish: Wish }
  | { do: "bye"; tab: string }
  | { do: "wake" }
  | { do: "renew" }
  /** What was shown may be somebody else's. */
  | { do: "forget" }
  | { do: "snapshot"; tab: string; snapshot: Snapshot }
  | { do: "message"; message: FromService; covers: Wish }
  | { do: "polled"; polled: Polled }
  | { do: "phase"; phase: Phase }
  /** Asks for the holder's time, and whether it is there. */
  | { do: "sync"; tab: string; asked: number }
  | { do: "synced"; tab: string; asked: number; now: number; service: number | null };

/** What a tab is told. */
export interface TabListener {
  /** This tab is the holder from now on. */
  hold(): void;
  /** Another tab is. */
  leave(): void;
  /** What all tabs together follow has changed; only where this tab is the holder. */
  wished(wish: Wish): void;
  message(message: FromService, covers: Wish): void;
  polled(polled: Polled): void;
  forget(): void;
  phase(phase: Phase): void;
  wake(): void;
  /** Finds out whether this machine has slept. */
  look(): void;
  renew(): void;
  changed(): void;
}

/** How many questions whether the holder is there go without answer before it is replaced. */
const UNANSWERED = 2;
/** The time until it is asked for the service's time again, where it did not know it. */
const AGAIN_MS = 1_000;

/** Whether this browser, and this page, can share. Web Locks need https, or this machine. */
export function canShare(): boolean {
  return typeof BroadcastChannel === "function" && !!globalThis.navigator?.locks;
}

/** What a tab brings. */
export interface Tab {
  /** Who share: tabs of the same name. */
  readonly name: string;
  readonly clock: ServiceClock;
  readonly store: Store;
  readonly listener: TabListener;
  readonly isVisible: () => boolean;
  /** The time between two questions whether the holder is there. */
  readonly syncMs: number;
}

export class Tabs {
  readonly #id = crypto.randomUUID();
  readonly #name: string;
  readonly #clock: ServiceClock;
  readonly #store: Store;
  readonly #listener: TabListener;
  readonly #isVisible: () => boolean;
  readonly #syncMs: number;
  #channel!: BroadcastChannel;
  #own: Wish;
  /** What the tabs follow; the holder's list. */
  readonly #wishes = new Map<string, Wish>();
  #phase: Phase = { name: "connecting" };
  #isHolder = false;
  /** Gives the lock up. */
  #release: (() => void) | null = null;
  #waiting: AbortController | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #unanswered = 0;
  /** The holder's `performance.now` less ours, at most. */
  #ahead: number | null = null;

  constructor(own: Wish, { name, clock, store, listener, isVisible, syncMs }: Tab) {
    [this.#name, this.#own, this.#clock] = [`facility-summary ${name}`, own, clock];
    [this.#store, this.#listener, this.#isVisible] = [store, listener, isVisible];
    this.#syncMs = syncMs;
    this.join();
  }

  get isHolder(): boolean {
    return this.#isHolder;
  }

  /** Belongs to the tabs from now on. */
  join(): void {
    if (this.#waiting && !this.#waiting.signal.aborted) return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data as Word);
    // That this tab is there: the browser releases it when the tab is not.
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    const forEver = new Promise<void>((fulfil) => signal.addEventListener("abort", () => fulfil()));
    void navigator.locks.request(this.#lockOf(this.#id), { signal }, () => forEver).catch(none);
    this.#timer = setInterval(() => this.#look(), this.#syncMs);
    this.#greet();
    this.#stand(false);
  }

  /** Belongs to them no more, until it joins again. */
  part(): void {
    if (this.#waiting?.signal.aborted) return;
    clearInterval(this.#timer);
    this.#say({ do: "bye", tab: this.#id });
    this.#step(false);
    this.#waiting?.abort();
    this.#channel.close();
  }

  follow(wish: Wish): void {
    this.#own = wish;
    if (this.#isHolder) this.#gather();
    else this.#say({ do: "follow", tab: this.#id, wish });
  }

  /** The holder hands on what has come. */
  message(message: FromService, covers: Wish): void {
    this.#say({ do: "message", message, covers });
  }

  polled(polled: Polled): void {
    this.#say({ do: "polled", polled });
  }

  forget(): void {
    this.#say({ do: "forget" });
  }

  phase(phase: Phase): void {
    this.#phase = phase;
    this.#say({ do: "phase", phase });
  }

  wake(): void {
    if (this.#isHolder) return;
    this.#say({ do: "wake" });
    this.#sync();
  }

  renew(): void {
    if (!this.#isHolder) this.#say({ do: "renew" });
  }

  #lockOf(tab: string): string {
    return `${this.#name} tab ${tab}`;
  }

  #say(word: Word): void {
    // Who has parted says nothing: until a page that is back has asked who is signed in.
    if (this.#waiting?.signal.aborted) return;
    this.#channel.postMessage(word);
  }

  /** Waits for the lock; with `steal`, takes it from a holder that does not answer. */
  #stand(steal: boolean): void {
    const { signal } = this.#waiting!;
    const name = `${this.#name} holder`;
    const hold = () => {
      if (signal.aborted) return Promise.resolve();
      const held = new Promise<void>((fulfil) => (this.#release = fulfil));
      this.#step(true);
      return held;
    };
    // A lock that is stolen cannot be asked for with a signal.
    const options = steal ? { steal } : { signal };
    navigator.locks.request(name, options, hold).catch((error: Error) => {
      if (signal.aborted) return;
      // Where a page may have no locks, it is alone.
      if (error.name !== "AbortError") return this.#step(true);
      // Another tab has taken the lock: this one did not answer, while it was frozen.
      this.#step(false);
      this.#greet();
      this.#stand(false);
    });
  }

  /** Tells the holder what this tab follows, and asks for its time. */
  #greet(): void {
    this.#ahead = null;
    this.#say({ do: "follow", tab: this.#id, wish: this.#own });
    this.#sync();
  }

  #step(isHolder: boolean): void {
    if (isHolder === this.#isHolder) return;
    this.#isHolder = isHolder;
    this.#wishes.clear();
    if (isHolder) {
      this.#ahead = null;
      this.#say({ do: "who" });
      this.#listener.hold();
    } else {
      this.#listener.leave();
      this.#release?.();
      this.#release = null;
    }
  }

  #gather(): void {
    this.#listener.wished(union([this.#own, ...this.#wishes.values()]));
  }

  /** Every now and then: whether the others are there. */
  #look(): void {
    if (this.#isHolder) return void this.#forgetGone();
    if (!this.#isVisible()) {
      this.#unanswered = 0;
      return;
    }
    if (this.#unanswered >= UNANSWERED) {
      this.#unanswered = 0;
      return this.#stand(true);
    }
    this.#sync();
  }

  async #forgetGone(): Promise<void> {
    const { held } = await navigator.locks.query();
    const there = new Set(held?.map((lock) => lock.name));
    const gone = [...this.#wishes.keys()].filter((tab) => !there.has(this.#lockOf(tab)));
    gone.forEach((tab) => this.#wishes.delete(tab));
    if (gone.length > 0 && this.#isHolder) this.#gather();
  }

  #sync(): void {
    if (this.#isHolder) return;
    this.#unanswered += 1;
    this.#say({ do: "sync", tab: this.#id, asked: this.#clock.now() });
  }

  /** The holder did not know the service's time. */
  #again(): void {
    if (this.#isVisible() && !this.#waiting?.signal.aborted) this.#sync();
  }

  #hear(word: Word): void {
    if (this.#isHolder) this.#hearAsHolder(word);
    else this.#hearAsSharer(word);
  }

  #hearAsHolder(word: Word): void {
    switch (word.do) {
      case "follow":
        this.#wishes.set(word.tab, word.wish);
        this.#say({ do: "snapshot", tab: word.tab, snapshot: this.#snapshot() });
        this.#say({ do: "phase", phase: this.#phase });
        return this.#gather();
      case "bye":
        if (this.#wishes.delete(word.tab)) this.#gather();
        return;
      case "sync": {
        this.#listener.look();
        const [now, service] = [this.#clock.now(), this.#clock.latest()];
        return this.#say({ do: "synced", tab: word.tab, asked: word.asked, now, service });
      }
      case "wake":
        return this.#listener.wake();
      case "renew":
        return this.#listener.renew();
      case "who":
        // Two believe that they hold it; the other one does, as the browser says soon.
        return;
    }
  }

  #hearAsSharer(word: Word): void {
    switch (word.do) {
      case "who":
        return this.#greet();
      case "synced":
        if (word.tab !== this.#id) return;
        this.#unanswered = 0;
        this.#ahead = word.now - word.asked;
        if (word.service !== null) this.#clock.answered(word.service, word.asked);
        else setTimeout(() => this.#again(), AGAIN_MS);
        return this.#listener.changed();
      case "snapshot":
        if (word.tab === this.#id) this.#restore(word.snapshot);
        return this.#listener.changed();
      case "message":
        this.#listener.message(word.message, word.covers);
        // The holder has set its clock: ask for it.
        if (word.message.type === "hello") this.#sync();
        return;
      case "forget":
        return this.#listener.forget();
      case "polled":
        return this.#listener.polled(this.#inOurTime(word.polled));
      case "phase":
        return this.#listener.phase(word.phase);
    }
  }

  #snapshot(): Snapshot {
    const { items, totals, epoch, stalled, refused } = this.#store;
    return { items: [...items.values()], totals, epoch, stalled, refused: [...refused] };
  }

  /** What came by polls counts once the holder's time is known. */
  #ours(at: number): number;
  #ours(at: number | null): number | null;
  #ours(at: number | null): number | null {
    if (at === null) return null;
    return this.#ahead === null ? -Infinity : at - this.#ahead;
  }

  #inOurTime(polled: Polled): Polled {
    const { items, totals, same } = polled;
    return {
      ...polled,
      items: items.map((item) => ({ ...item, at: this.#ours(item.at) })),
      totals: totals && { ...totals, at: this.#ours(totals.at) },
      same: same.map((one) => ({ ...one, at: this.#ours(one.at) })),
    };
  }

  #restore({ items, totals, epoch, stalled, refused }: Snapshot): void {
    const restored = items.map((item) => ({ ...item, polledAt: this.#ours(item.polledAt) }));
    this.#store.restore(restored, epoch, stalled, refused);
    if (totals && this.#store.wish.totals)
      this.#store.totals = { ...totals, polledAt: this.#ours(totals.polledAt) };
  }
}

function none(): void {}
