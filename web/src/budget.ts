/** The most messages at once, and in a minute: the service takes 100 of a connection. */
const MOST = 50;
const MINUTE_MS = 60_000;

/** How many messages may be sent: far fewer than the service takes, as it ends who sends more. */
export class Budget {
  #left = MOST;
  #since: number;
  readonly #now: () => number;

  constructor(now: () => number) {
    [this.#now, this.#since] = [now, now()];
  }

  /** Takes one message from it. Returns whether there was one. */
  take(): boolean {
    const now = this.#now();
    const grown = ((now - this.#since) * MOST) / MINUTE_MS;
    this.#left = Math.min(MOST, this.#left + grown);
    this.#since = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** The time until there is one. */
  wait(): number {
    return Math.ceil((Math.max(0, 1 - this.#left) * MINUTE_MS) / MOST);
  }
}
