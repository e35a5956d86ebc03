// Keeps a way to the service open: the best one that is open here, and again after each end.
import { BackOff, FIRST_MS } from "./back-off.js";
import { type FromService, type Wish, sameWish } from "./messages.js";
import type { Polled } from "./store.js";
import { sse } from "./transports/events.js";
import { polling } from "./transports/polling.js";
import {
  type End,
  type Link,
  type Sink,
  type Surroundings,
  type Transport,
  type TransportName,
  NotOpen,
} from "./transports/transport.js";
import { websocket } from "./transports/websocket.js";

/** From the best on. */
const TRANSPORTS: readonly Transport[] = [websocket, sse, polling];
/** What changes within this time goes together. */
const GATHER_MS = 50;
/** A connection that has lasted so long is no failure. */
const LASTED_MS = 10_000;

/** What ends a wait: the network or the screen is back, or the credential was renewed. */
type Waking = "screen" | "credential";

interface Better {
  readonly kind: "better";
  readonly link: Link;
  readonly rank: number;
}

/** How it stands. */
export type Phase =
  | { readonly name: "connecting" }
  | { readonly name: "open"; readonly transport: TransportName }
  /** It failed; the next attempt comes by itself. */
  | { readonly name: "waiting"; readonly reason: string; readonly ms: number }
  /** It is not allowed; nothing comes by itself any more. */
  | { readonly name: "refused"; readonly reason: string }
  | { readonly name: "closed" };

/** What the engine tells. */
export interface Listener {
  message(message: FromService, covers: Wish): void;
  polled(polled: Polled): void;
  /** This is followed from now on; what is not may be dropped. */
  following(wish: Wish): void;
  /** What was shown was got with a credential that may be somebody else's. */
  forget(): void;
  phase(phase: Phase): void;
}

export interface EngineOptions {
  readonly transports: readonly TransportName[];
  /** How long it stays with a way that is not the best before it tries a better one. */
  readonly betterMs: number;
}

export class Engine {
  readonly #around: Surroundings;
  readonly #listener: Listener;
  readonly #transports: readonly Transport[];
  readonly #betterMs: number;
  readonly #backOff: BackOff;
  readonly #random: () => number;
  /** What is to be followed, and what is followed. */
  #wish: Wish;
  #applied: Wish;
  #appliedAt = -Infinity;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #link: Link | null = null;
  #gapMs = 0;
  #isRenewed = false;
  /** How often the credential was renewed, and how often a link was closed for that. */
  #renewals = 0;
  #closings = 0;
  #isClosed = false;
  /** Ends the present wait. */
  #wake: ((by: Waking) => void) | null = null;
  #attemptAt = -Infinity;

  constructor(around: Surroundings, listener: Listener, wish: Wish, options: EngineOptions) {
    [this.#around, this.#listener] = [around, listener];
    this.#wish = this.#applied = wish;
    this.#transports = TRANSPORTS.filter(({ name }) => options.transports.includes(name));
    [this.#betterMs, this.#random] = [options.betterMs, around.random];
    this.#backOff = new BackOff(around.random);
    void this.#run();
  }

  /** Follows this from now on. What changes within a moment goes together. */
  follow(wish: Wish): void {
    this.#wish = wish;
    if (!this.#link || this.#gathering !== undefined) return;
    const since = this.#around.clock.now() - this.#appliedAt;
    const ms = Math.max(GATHER_MS, this.#gapMs - since);
    this.#gathering = setTimeout(() => this.#apply(), ms);
  }

  /**
   * What is left is dropped only here, when the link is told: what comes back before that is
   * still there, as the service will not send it again.
   */
  #apply(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (this.#isClosed || sameWish(this.#wish, this.#applied)) return;
    this.#applied = this.#wish;
    this.#appliedAt = this.#around.clock.now();
    this.#listener.following(this.#applied);
    this.#link?.follow(this.#applied);
  }

  /** The network or the screen is back: connects at once, or finds out whether it still is. */
  wake(): void {
    // A screen that is shown and hidden all the time makes no more attempts than one a second.
    if (this.#around.clock.now() - this.#attemptAt > FIRST_MS) this.#wake?.("screen");
    this.#link?.check();
  }

  /** The credential was renewed. `isSame`: it is known to be of the same person. */
  renew(isSame = false): void {
    this.#wake?.("credential");
    this.#renewals += 1;
    if (this.#link?.renew()) return;
    if (!isSame) this.#listener.forget();
    this.#closings += 1;
    if (!this.#link) return;
    this.#isRenewed = true;
    this.#link.close();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#gathering);
    this.#listener.phase({ name: "closed" });
    this.#link?.close();
    this.#wake?.("credential");
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      this.#phase({ name: "connecting" });
      this.#attemptAt = this.#around.clock.now();
      const end = await this.#round();
      if (this.#isClosed) return;
      const isRenewed = this.#isRenewed;
      this.#isRenewed = false;
      if (isRenewed) continue;
      if (end.kind === "refused") {
        // Nobody is signed in, or somebody who may not see it.
        this.#listener.forget();
        this.#phase({ name: "refused", reason: end.reason });
        await this.#wait(null, ["credential"]);
        continue;
      }
      const told = end.kind === "told" ? end.retryMs : null;
      const ms = told ?? this.#backOff.next();
      this.#phase({ name: "waiting", reason: end.reason, ms });
      // A time that the service said spreads its clients: it is waited for in any case.
      await this.#wait(ms, told === null ? ["screen", "credential"] : []);
    }
  }

  #phase(phase: Phase): void {
    if (!this.#isClosed) this.#listener.phase(phase);
  }

  /** Tries one way after another, and stays with the first that opens. */
  async #round(): Promise<End> {
    let reason = "no way to connect is allowed";
    for (const [rank, transport] of this.#transports.entries()) {
      try {
        return await this.#stay(await this.#open(transport), rank);
      } catch (error) {
        if (!(error instanceof NotOpen)) throw error;
        reason = error.message;
        if (this.#isClosed) break;
      }
    }
    return { kind: "lost", reason };
  }

  async #open(transport: Transport): Promise<Link> {
    for (;;) {
      this.#apply();
      const [wish, renewals, closings] = [this.#applied, this.#renewals, this.#closings];
      // What was on its way when the credential was renewed does not count.
      const counts = () => !this.#isClosed && closings === this.#closings;
      const sink: Sink = {
        message: (message, covers) => counts() && this.#listener.message(message, covers),
        polled: (polled) => counts() && this.#listener.polled(polled),
      };
      const link = await transport.open(this.#around, sink, wish);
      if (this.#isClosed) link.close();
      // Meanwhile the link that is open may have left what this one had asked for.
      const isCurrent = wish === this.#applied && closings === this.#closings
        && (renewals === this.#renewals || link.renew());
      if (this.#isClosed || isCurrent) return link;
      link.close();
    }
  }

  async #stay(link: Link, rank: number): Promise<End> {
    const { clock } = this.#around;
    for (;;) {
      [this.#link, this.#gapMs] = [link, this.#transports[rank]!.gapMs];
      this.#apply();
      const since = clock.now();
      this.#phase({ name: "open", transport: this.#transports[rank]!.name });
      const end = rank === 0 ? await link.ended : await this.#endedOrBetter(link, rank);
      this.#link = null;
      if (end.kind === "better") {
        [link, rank] = [end.link, end.rank];
        continue;
      }
      if (clock.now() - since > LASTED_MS) this.#backOff.reset();
      return end;
    }
  }

  /** Looks for a better way from time to time, while this one goes on. */
  async #endedOrBetter(link: Link, rank: number): Promise<End | Better> {
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const due = new Promise<null>((fulfil) => {
        timer = setTimeout(() => fulfil(null), this.#betterMs * (0.5 + this.#random()));
      });
      const end = await Promise.race([link.ended, due]);
      clearTimeout(timer);
      if (end) return end;
      for (const [better, transport] of this.#transports.slice(0, rank).entries()) {
        try {
          const found = await this.#open(transport);
          link.close();
          return { kind: "better", link: found, rank: better };
        } catch (error) {
          if (!(error instanceof NotOpen)) throw error;
        }
      }
    }
  }

  /** Waits, at most for `ms`, until somebody may end it. */
  async #wait(ms: number | null, may: Waking[]): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((fulfil) => {
      this.#wake = (by) => {
        if (this.#isClosed || may.includes(by)) fulfil();
      };
      if (this.#isClosed) fulfil();
      if (ms !== null) timer = setTimeout(fulfil, ms);
    });
    this.#wake = null;
    clearTimeout(timer);
  }
}
