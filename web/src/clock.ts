/** Further apart than so many milliseconds, two clocks have not run the same. */
const APART_MS = 2_000;

/**
 * What the clock of the service shows, as far as its messages say so. The clock of this machine is
 * never compared with it: somebody may set it. Between two messages `performance.now` counts.
 *
 * The estimate is the *latest* time that the service's clock can show, so that an age that is
 * counted by it is never too young.
 */
export class ServiceClock {
  /** The service's time less that of `performance.now`, at most. */
  #ahead: number | null = null;
  #between: number;
  readonly #now: () => number;
  readonly #wall: () => number;

  constructor(now = () => performance.now(), wall = () => Date.now()) {
    this.#now = now;
    this.#wall = wall;
    this.#between = wall() - now();
  }

  /** The time of this machine that only ever goes on. */
  now(): number {
    return this.#now();
  }

  /** The service showed `service` at some time after `asked`: it cannot have shown more then. */
  answered(service: number, asked: number): void {
    this.#ahead = service - asked;
  }

  /** A message of the service says `service`, so its clock shows at least that now. */
  heard(service: number): void {
    if (this.#ahead !== null) this.#ahead = Math.max(this.#ahead, service - this.#now());
  }

  /** The latest time that the service's clock can show; `null` where nothing says so. */
  latest(): number | null {
    return this.#ahead === null ? null : this.#ahead + this.#now();
  }

  /** Nothing is known any more. */
  forget(): void {
    this.#ahead = null;
  }

  /**
   * Whether this machine has slept since the last call: `performance.now` may have stood still
   * then. (Or its clock was set; that looks the same.) Then nothing is known any more.
   */
  hasSlept(): boolean {
    const between = this.#wall() - this.#now();
    const moved = Math.abs(between - this.#between) > APART_MS;
    this.#between = between;
    if (moved) this.forget();
    return moved;
  }
}
