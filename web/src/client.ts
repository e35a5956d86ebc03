// What a page uses.
import { ServiceClock } from "./clock.js";
import { type Listener, type Phase, Engine } from "./engine.js";
import { type FromService, type Summary, type Totals, type Wish, follows } from "./messages.js";
import { type Who, Person } from "./person.js";
import { type Polled, type Stall, Store } from "./store.js";
import { type TabListener, Tabs, canShare } from "./tabs.js";
import type { Surroundings, TransportName } from "./transports/transport.js";

export interface Options {
  /** The address of the service; by default that of the page. */
  readonly base?: string | URL;
  /** Facilities to follow, by their ids. */
  readonly facilities?: Iterable<string>;
  /** Follow every facility that one may see. */
  readonly all?: boolean;
  /** Follow the sums over them. */
  readonly totals?: boolean;
  /**
   * Gives a key or a token, whenever one is needed. Without it the browser's cookie counts, as
   * it should in a page of the service itself.
   */
  readonly token?: () => string | Promise<string>;
  /**
   * Whether all tabs of this origin share one connection: by default where they share the cookie,
   * and so the person. With `token`, a name: tabs with the same name share, so let it be that of
   * the person.
   */
  readonly share?: boolean | string;
  /** The ways that may be tried. */
  readonly transports?: readonly TransportName[];
  /** The time between two polls. */
  readonly pollMs?: number;
  /** The time after which a better way is tried. */
  readonly betterMs?: number;
  /** How long a way may take until the service greets. */
  readonly openMs?: number;
  /** The time between two questions of a tab whether the holder is there. */
  readonly syncMs?: number;
  /** For programs that are no browsers. */
  readonly webSocket?: typeof WebSocket;
  readonly fetch?: typeof fetch;
  readonly random?: () => number;
}

/** The part of a tab among all tabs. */
export type Role = "alone" | "holder" | "sharer";

/** How it stands. */
export interface Status {
  readonly phase: Phase;
  readonly role: Role;
  /** Nothing can be proven since then; `null` where it can. */
  readonly stalled: Stall | null;
  /** Facilities that are not followed, and why. */
  readonly refused: ReadonlyMap<string, string>;
  readonly epoch: string | null;
}

const ALL: readonly TransportName[] = ["websocket", "sse", "polling"];

/** The newest figures of what is followed, and how old they are. */
export class LiveSummaries {
  readonly #options: Options;
  readonly #clock = new ServiceClock();
  readonly #store = new Store(this.#clock);
  readonly #listeners = new Set<() => void>();
  #tabs: Tabs | null = null;
  /** Whose cookie it is; `null` where none counts. */
  readonly #person: Person | null = null;
  readonly #isShared: boolean;
  /** How often it was somebody else. */
  #meetings = 0;
  readonly #stop = new AbortController();
  #wish: Wish;
  #engine: Engine | null = null;
  #phase: Phase = { name: "connecting" };
  #isToldSoon = false;

  constructor(options: Options = {}) {
    this.#options = options;
    this.#wish = wishOf(options);
    this.#store.setWish(this.#wish);
    const share = options.share ?? !options.token;
    if (share === true && options.token)
      throw new Error("share: with a token, name the tabs that share, such as by the person");
    this.#isShared = share !== false && canShare();
    const isBrowser = !!globalThis.document;
    if (!options.token && (this.#isShared || isBrowser)) {
      const around = { base: this.#base(), fetch: this.#fetch(), openMs: this.#openMs() };
      this.#person = new Person(around, (who, before) => this.#met(who, before));
    }
    if (!this.#isShared) this.#start(this.#wish);
    else if (!this.#person) this.#tabs = this.#join(["token", share]);
    void this.#person?.ask();
    this.#watchScreen();
  }

  /** The newest summary of each facility that is followed, by id. */
  get summaries(): ReadonlyMap<string, Summary> {
    const { items } = this.#store;
    const shown = [...items].filter(([id]) => follows(this.#wish, id));
    return new Map(shown.map(([id, { summary }]) => [id, summary]));
  }

  /** Facilities whose figures stay as they were, since a row of them cannot be counted. */
  get cannotBeCounted(): ReadonlySet<string> {
    const { items } = this.#store;
    const still = [...items].filter(([id, shown]) =>
      shown.cannotBeCounted && follows(this.#wish, id));
    return new Set(still.map(([id]) => id));
  }

  /** The newest sums, where they are followed. */
  get totals(): Totals | null {
    return this.#wish.totals ? (this.#store.totals?.totals ?? null) : null;
  }

  get status(): Status {
    const { stalled, refused, epoch } = this.#store;
    const role = !this.#tabs ? "alone" : this.#tabs.isHolder ? "holder" : "sharer";
    const own = [...refused].filter(([id]) => this.#wish.facilities.has(id));
    return { phase: this.#phase, role, stalled, refused: new Map(own), epoch };
  }

  /**
   * How old, in milliseconds, the oldest of what is followed can be now; `null` where that is not
   * known. It grows by itself: ask for it whenever it is shown.
   */
  age(): number | null {
    this.#awake();
    return this.#store.age(this.#wish);
  }

  /** The same of one facility. */
  ageOf(facility: string): number | null {
    this.#awake();
    return this.#store.ageOf(facility);
  }

  /** Follows this from now on, and nothing else. */
  follow(wish: { facilities?: Iterable<string>; all?: boolean; totals?: boolean }): void {
    this.#wish = wishOf(wish);
    if (this.#tabs) {
      if (!this.#tabs.isHolder) this.#store.setWish(this.#wish);
      this.#tabs.follow(this.#wish);
    } else {
      this.#wished(this.#wish);
    }
    this.#changed();
  }

  /** Calls `listener` after each change; many at once make one call. Returns what ends that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The credential is another one: goes on with it, also after a refusal. */
  renew(): void {
    if (!this.#person) return this.#renew(false);
    const before = this.#meetings;
    void this.#person.ask().then((isSame) => {
      // Who is somebody else has another connection already.
      if (before === this.#meetings && !this.#stop.signal.aborted) this.#renew(isSame);
    });
  }

  /** Follows nothing any more. */
  close(): void {
    this.#stop.abort();
    this.#person?.close();
    this.#tabs?.part();
    this.#end();
    this.#phase = { name: "closed" };
    this.#listeners.clear();
  }

  #base(): URL {
    return new URL(this.#options.base ?? globalThis.location.href);
  }

  #fetch(): typeof fetch {
    return this.#options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  #openMs(): number {
    return this.#options.openMs ?? 10_000;
  }

  #renew(isSame: boolean): void {
    this.#engine?.renew(isSame);
    this.#tabs?.renew();
  }

  /** It is somebody else; `before`: than so far. Nothing goes from one to the other. */
  #met(who: Who, before: Who | null): void {
    this.#meetings += 1;
    const isKnown = who.kind === "known";
    if (before || (isKnown && this.#isShared)) {
      this.#tabs?.part();
      this.#tabs = null;
      this.#end();
      this.#setPhase({ name: "connecting" });
      this.#forget();
    }
    if (isKnown && this.#isShared) {
      const { share = true } = this.#options;
      this.#tabs = this.#join(["cookie", share, who.name]);
    } else if (!this.#engine) {
      // Nobody: the service says so. Not known: this tab shows what its own connection brings.
      this.#start(this.#wish);
    }
  }

  #start(wish: Wish): void {
    const { token, webSocket, transports, random } = this.#options;
    const around: Surroundings = {
      base: this.#base(),
      clock: this.#clock,
      token: token ?? null,
      pollMs: this.#options.pollMs ?? 15_000,
      openMs: this.#openMs(),
      webSocket: webSocket ?? globalThis.WebSocket,
      fetch: this.#fetch(),
      random: random ?? Math.random,
      store: this.#store,
    };
    this.#store.setWish(wish);
    this.#engine = new Engine(around, this.#fromEngine(), wish, {
      transports: transports ?? ALL,
      betterMs: this.#options.betterMs ?? 300_000,
    });
  }

  #end(): void {
    this.#engine?.close();
    this.#engine = null;
  }

  /** Where the engine is, its news goes to the other tabs, too. */
  #fromEngine(): Listener {
    return {
      message: (message, covers) => {
        this.#tabs?.message(message, covers);
        this.#take(message, covers);
      },
      polled: (polled) => {
        this.#tabs?.polled(polled);
        this.#poll(polled);
      },
      following: (wish) => this.#store.setWish(wish),
      forget: () => {
        this.#tabs?.forget();
        this.#forget();
      },
      phase: (phase) => {
        if (phase.name !== "closed") this.#tabs?.phase(phase);
        this.#setPhase(phase);
      },
    };
  }

  /** Joins the tabs that share by this. */
  #join(by: unknown[]): Tabs {
    const name = JSON.stringify([this.#base().origin, ...by]);
    this.#store.setWish(this.#wish);
    const isVisible = () => globalThis.document?.visibilityState !== "hidden";
    const listener: TabListener = {
      hold: () => this.#start(this.#wish),
      leave: () => {
        this.#end();
        this.#store.setWish(this.#wish);
        this.#setPhase({ name: "connecting" });
      },
      wished: (wish) => this.#wished(wish),
      message: (message, covers) => this.#take(message, covers),
      polled: (polled) => this.#poll(polled),
      forget: () => this.#forget(),
      phase: (phase) => this.#setPhase(phase),
      wake: () => {
        if (!this.#awake()) this.#engine?.wake();
      },
      look: () => void this.#awake(),
      renew: () => this.renew(),
      changed: () => this.#changed(),
    };
    const syncMs = this.#options.syncMs ?? 10_000;
    const [clock, store] = [this.#clock, this.#store];
    return new Tabs(this.#wish, { name, clock, store, listener, isVisible, syncMs });
  }

  /** What a connection still follows stays in the store until it follows something else. */
  #wished(wish: Wish): void {
    this.#engine?.follow(wish);
  }

  #forget(): void {
    this.#store.forget();
    this.#changed();
  }

  #take(message: FromService, covers: Wish): void {
    this.#store.take(message, covers);
    this.#changed();
  }

  #poll(polled: Polled): void {
    this.#store.poll(polled);
    this.#changed();
  }

  #setPhase(phase: Phase): void {
    this.#phase = phase;
    if (phase.name === "open" && this.#person?.isDoubted) void this.#person.ask();
    this.#changed();
  }

  #changed(): void {
    if (this.#isToldSoon) return;
    this.#isToldSoon = true;
    queueMicrotask(() => {
      this.#isToldSoon = false;
      this.#listeners.forEach((listener) => listener());
    });
  }

  /** Whether this machine has slept, so that ages have to be found out anew. */
  #awake(): boolean {
    if (!this.#clock.hasSlept()) return false;
    this.#store.forgetPolled();
    this.#wake();
    return true;
  }

  #wake(): void {
    this.#engine?.wake();
    this.#tabs?.wake();
    this.#changed();
  }

  async #comeBack(): Promise<void> {
    const tabs = this.#tabs;
    await this.#person?.ask();
    if (tabs === this.#tabs && !this.#stop.signal.aborted) tabs?.join();
  }

  /** A network that is back, and a screen that is shown again, wait for no back-off. */
  #watchScreen(): void {
    if (!globalThis.document || !globalThis.window) return;
    const { signal } = this.#stop;
    const wake = () => {
      if (document.visibilityState === "hidden") return;
      // Somebody may have signed in, or out, in another tab.
      void this.#person?.ask();
      if (!this.#awake()) this.#wake();
    };
    window.addEventListener("online", wake, { signal });
    document.addEventListener("visibilitychange", wake, { signal });
    // A page that the browser keeps for "back" must not be the holder.
    window.addEventListener("pagehide", () => this.#tabs?.part(), { signal });
    const back = ({ persisted }: PageTransitionEvent) => {
      if (persisted) void this.#comeBack();
    };
    window.addEventListener("pageshow", back, { signal });
  }
}

function wishOf(of: { facilities?: Iterable<string>; all?: boolean; totals?: boolean }): Wish {
  return {
    facilities: new Set([...(of.facilities ?? [])].map((id) => id.toLowerCase())),
    all: of.all ?? false,
    totals: of.totals ?? false,
  };
}

/** Follows figures from now on. */
export function connect(options: Options = {}): LiveSummaries {
  return new LiveSummaries(options);
}
