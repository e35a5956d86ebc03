/** The first, and the longest, time between two attempts to connect. */
export const FIRST_MS = 1_000;
export const LONGEST_MS = 30_000;
const FACTOR = 1.5;

/**
 * How long to wait before the next attempt: any time up to a bound that grows. So the clients of a
 * server that was away do not come back all at once ("full jitter").
 */
export class BackOff {
  #failures = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The time until the next attempt. */
  next(): number {
    const bound = Math.min(FIRST_MS * FACTOR ** this.#failures, LONGEST_MS);
    this.#failures += 1;
    return this.#random() * bound;
  }

  /** A connection has lasted. */
  reset(): void {
    this.#failures = 0;
  }
}
