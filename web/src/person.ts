// Whose cookie the browser has. All tabs have the same one, and another tab may change it.
import type { Me } from "./messages.js";

/** Who it is. */
export type Who =
  /** Somebody, by a session; or, with an empty name, anybody: the service has no sign-in. */
  | { readonly kind: "known"; readonly name: string }
  | { readonly kind: "nobody" }
  /** It could not be found out. */
  | { readonly kind: "unknown" };

export interface PersonOptions {
  readonly base: URL;
  readonly fetch: typeof fetch;
  /** How long an answer may take. */
  readonly openMs: number;
}

export class Person {
  readonly #options: PersonOptions;
  readonly #met: (who: Who, before: Who | null) => void;
  readonly #channel: BroadcastChannel | null;
  readonly #stop = new AbortController();
  /** Who it was when that was last found out. */
  #who: Who | null = null;
  #isDoubted = false;
  #asking: Promise<boolean> | null = null;
  #next: Promise<boolean> | null = null;

  /** `met` is told the first answer, and whenever it is somebody else. */
  constructor(options: PersonOptions, met: (who: Who, before: Who | null) => void) {
    [this.#options, this.#met] = [options, met];
    const name = `facility-summary ${options.base.origin} cookie`;
    this.#channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(name) : null;
    if (this.#channel)
      this.#channel.onmessage = ({ data }) => {
        // What another tab says is not believed, but asked for.
        if (this.#who && data !== JSON.stringify(this.#who)) void this.ask();
      };
  }

  /** Whether the last question went without an answer. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** Finds it out. Returns whether it is known to be the same as before. */
  ask(): Promise<boolean> {
    if (!this.#asking) {
      this.#asking = this.#ask().finally(() => (this.#asking = null));
      return this.#asking;
    }
    // The answer under way may be older than what this question is about.
    this.#next ??= this.#asking.then(() => {
      this.#next = null;
      return this.ask();
    });
    return this.#next;
  }

  close(): void {
    this.#stop.abort();
    this.#channel?.close();
  }

  async #ask(): Promise<boolean> {
    const who = await this.#find();
    if (this.#stop.signal.aborted) return true;
    this.#isDoubted = who.kind === "unknown";
    const before = this.#who;
    if (this.#isDoubted) {
      if (!before) this.#met(who, null);
      return false;
    }
    const text = JSON.stringify(who);
    if (before && text === JSON.stringify(before)) return true;
    this.#who = who;
    this.#channel?.postMessage(text);
    this.#met(who, before);
    return false;
  }

  async #find(): Promise<Who> {
    const { base, fetch, openMs } = this.#options;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), openMs);
    const stop = () => abort.abort();
    this.#stop.signal.addEventListener("abort", stop);
    try {
      const headers = { Accept: "application/json" };
      const options = { headers, cache: "no-store", signal: abort.signal } as const;
      const answer = await fetch(new URL("/v1/auth/me", base), options);
      if (answer.status === 401) return { kind: "nobody" };
      if (answer.status !== 200) return { kind: "unknown" };
      const { id = null, session = null } = (await answer.json()) as Me;
      const isAnybody = id === null && session === null;
      // The same person with another session has another cookie.
      return { kind: "known", name: isAnybody ? "" : JSON.stringify([id, session]) };
    } catch {
      return { kind: "unknown" };
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener("abort", stop);
    }
  }
}
