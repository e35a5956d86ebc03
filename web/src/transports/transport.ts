// What the ways to the service have in common.
import { BackOff } from "../back-off.js";
import type { ServiceClock } from "../clock.js";
import type { FromService, Wish } from "../messages.js";
import type { Polled, Store } from "../store.js";

export type TransportName = "websocket" | "sse" | "polling";

/** What a way needs. */
export interface Surroundings {
  /** The address of the service, such as `https://summary.example`. */
  readonly base: URL;
  readonly clock: ServiceClock;
  /** A key or a token; `null` where the browser's cookie counts. */
  readonly token: (() => string | Promise<string>) | null;
  readonly pollMs: number;
  /** How long a way may take until the service greets. */
  readonly openMs: number;
  readonly webSocket: typeof WebSocket | undefined;
  readonly fetch: typeof fetch;
  readonly random: () => number;
  /** What is shown; a way reads what is known there. */
  readonly store: Store;
}

/** Takes what comes. */
export interface Sink {
  message(message: FromService, covers: Wish): unknown;
  polled(polled: Polled): unknown;
}

/** Why a way has ended. */
export type End =
  /** Nobody said why. */
  | { readonly kind: "lost"; readonly reason: string }
  /** The service said so; come back after this time. */
  | { readonly kind: "told"; readonly reason: string; readonly retryMs: number | null }
  /** It is not allowed: do not come back with the same credential. */
  | { readonly kind: "refused"; readonly reason: string };

/** A way that is open. */
export interface Link {
  readonly ended: Promise<End>;
  /** Follows this, and nothing else. */
  follow(wish: Wish): void;
  /** Finds out soon whether it still works. */
  check(): void;
  /**
   * Renews the credential. Returns whether that works without another connection; the service says
   * then where it is somebody else's.
   */
  renew(): boolean;
  close(): void;
}

/** This way is not open here: it is refused, or something between holds it up. */
export class NotOpen extends Error {}

/** A way to the service. */
export interface Transport {
  readonly name: TransportName;
  /** The time between two changes of what is followed, at least. */
  readonly gapMs: number;
  /** Opens it. Fails with `NotOpen` where another way may do. */
  open(surroundings: Surroundings, sink: Sink, wish: Wish): Promise<Link>;
}

/** A promise that is fulfilled from outside, once. */
export class Ending {
  readonly promise: Promise<End>;
  isOver = false;
  #fulfil!: (end: End) => void;

  constructor() {
    this.promise = new Promise((fulfil) => {
      this.#fulfil = fulfil;
    });
  }

  end(end: End): void {
    this.isOver = true;
    this.#fulfil(end);
  }
}

/** Has `due` called where `heard` is not for a time. */
export class Watchdog {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ms: number;
  readonly #due: () => void;

  constructor(ms: number, due: () => void) {
    this.#ms = ms;
    this.#due = due;
    this.heard();
  }

  /** There was a sign of life. */
  heard(ms = this.#ms): void {
    this.#ms = ms;
    this.within(ms);
  }

  /** Once, a sign of life has to come sooner. */
  within(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#due, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** The first time until what could not be followed for the moment is asked for again. */
const AGAIN_MS = 1_000;

/** Asks again, with a back-off, for what could not be followed for the moment. */
export class Again {
  readonly #backOff: BackOff;
  readonly #ask: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(random: () => number, ask: () => void) {
    [this.#backOff, this.#ask] = [new BackOff(random), ask];
  }

  later(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#ask, AGAIN_MS + this.#backOff.next());
  }

  /** It could be followed. */
  reset(): void {
    this.#backOff.reset();
    this.stop();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** How long nothing may come: two heartbeats, and what a slow network takes. */
export function silence(heartbeatMs: number): number {
  return 2 * heartbeatMs + 5_000;
}

/** The headers by which a program signs in. */
export async function credential({ token }: Surroundings): Promise<Record<string, string>> {
  return token ? { Authorization: `Bearer ${await token()}` } : {};
}
