// What is shown, and as of when it is exact.
import type { ServiceClock } from "./clock.js";
import {
  type FromService,
  type Item,
  type Summary,
  type Totals,
  type Wish,
  NOTHING,
  follows,
  instant,
} from "./messages.js";

/** The figures of a facility. */
export interface Shown {
  readonly summary: Summary;
  /** `null`: they came in a list, whose parts have no tags. */
  readonly etag: string | null;
  /** They are exact as of this time of the service, or later. */
  asOf: number | null;
  /** The same in the time of `performance.now`, where they were asked for; `null`: not known. */
  polledAt: number | null;
  /** Of which epoch they are known to be; `null` where nobody said so. */
  readonly epoch: string | null;
  /** Whether they came since all were asked for last. */
  isConfirmed: boolean;
  /** They stay as they were then, as a row of them cannot be counted. */
  readonly cannotBeCounted: boolean;
}

/**
 * What was asked for. `at` is the time of `performance.now` as of which it is exact, or later;
 * minus infinity where that is not known.
 */
export interface Polled {
  readonly items: readonly { summary: Summary; etag: string | null; at: number }[];
  /** Whether these are all facilities. */
  readonly isAll: boolean;
  readonly totals: { totals: Totals; at: number } | null;
  readonly refused: readonly { facility: string; reason: string }[];
  /** What has not changed. */
  readonly same: readonly { facility: string; at: number }[];
}

/** Nothing can be proven since then. */
export interface Stall {
  readonly since: string | null;
  readonly reason: string;
}

/** Exact to this many milliseconds is as exact as polls are. */
const POLL_EXACTNESS_MS = 2_000;

export class Store {
  wish: Wish = NOTHING;
  readonly items = new Map<string, Shown>();
  totals: { totals: Totals; asOf: number | null; polledAt: number | null } | null = null;
  epoch: string | null = null;
  stalled: Stall | null = null;
  /** Facilities of the wish that are not followed, and why. */
  readonly refused = new Map<string, string>();
  /** As of when a client that follows all has everything, though it be nothing. */
  #allAsOf: number | null = null;
  readonly #clock: ServiceClock;

  constructor(clock: ServiceClock) {
    this.#clock = clock;
  }

  /** Follows something else from now on. */
  setWish(wish: Wish): void {
    this.wish = wish;
    for (const id of this.items.keys()) if (!follows(wish, id)) this.items.delete(id);
    for (const id of this.refused.keys()) if (!wish.facilities.has(id)) this.refused.delete(id);
    if (!wish.totals) this.totals = null;
    if (!wish.all) this.#allAsOf = null;
  }

  /** The tags of what is shown, for a connection that goes on from there. */
  known(facilities: Iterable<string>): Record<string, string> {
    const known: Record<string, string> = {};
    for (const id of facilities) {
      const shown = this.items.get(id);
      if (shown?.etag && this.epoch !== null && shown.epoch === this.epoch) known[id] = shown.etag;
    }
    return known;
  }

  /** Takes a message in. `covers` is what the connection follows by now. */
  take(message: FromService, covers: Wish): void {
    switch (message.type) {
      case "hello":
        if (message.epoch !== this.epoch) this.#begin(message.epoch);
        this.stalled = null;
        break;
      case "epoch":
        this.#begin(message.epoch);
        this.items.clear();
        this.totals = null;
        break;
      case "subscribed":
        if (message.subject === "all")
          for (const shown of this.items.values()) shown.isConfirmed = false;
        for (const id of message.facilities) this.refused.delete(id);
        for (const { facility_id, reason } of message.refused) {
          if (!facility_id) continue;
          if (this.wish.facilities.has(facility_id)) this.refused.set(facility_id, reason);
          if (reason !== "unavailable") this.items.delete(facility_id);
        }
        break;
      case "summary":
        this.#show(message);
        break;
      case "summaries":
        message.summaries.forEach((item) => this.#show(item));
        break;
      case "totals":
        if (this.wish.totals) {
          const asOf = instant(message.as_of);
          this.totals = { totals: message.totals, asOf, polledAt: null };
        }
        break;
      case "heartbeat":
        this.#prove(message, covers);
        break;
      case "stalled":
        this.stalled = { since: message.since, reason: message.reason };
        break;
      case "resumed":
        this.stalled = null;
        break;
      case "error":
        if (message.code === "other_principal") this.forget();
        if (message.code === "unknown_facility" && message.facility_id)
          this.#drop(message.facility_id, "unknown");
        for (const id of message.facilities ?? []) this.#drop(id, message.code);
        break;
    }
  }

  /** Takes in what was asked for. */
  poll(polled: Polled): void {
    this.stalled = null;
    if (polled.isAll) {
      const listed = new Set(polled.items.map((item) => item.summary.facility_id));
      for (const id of this.items.keys()) if (!listed.has(id)) this.items.delete(id);
    }
    for (const { summary, etag, at } of polled.items) {
      const id = summary.facility_id;
      const held = this.items.get(id);
      if (!follows(this.wish, id)) continue;
      this.refused.delete(id);
      if (held && isOlder(summary, held.summary)) {
        // Another replica may be behind. Its answer counts where it is exact as of later: then
        // the database has lost something.
        const heldAt = this.#localAt(held);
        if (heldAt !== null && at <= heldAt + POLL_EXACTNESS_MS) continue;
      }
      const epoch = held?.epoch ?? null;
      const isSame = held?.etag === etag && held?.summary.version === summary.version;
      const asOf = isSame ? (held?.asOf ?? null) : null;
      const polledAt = known(at);
      const cannotBeCounted = "cannot_be_counted" in summary && !!summary.cannot_be_counted;
      this.items.set(id, {
        summary, etag, asOf, polledAt, epoch, cannotBeCounted, isConfirmed: true,
      });
    }
    for (const { facility, at } of polled.same) {
      const held = this.items.get(facility);
      if (held) held.polledAt = known(Math.max(held.polledAt ?? -Infinity, at));
    }
    for (const { facility, reason } of polled.refused) this.#drop(facility, reason);
    if (polled.totals && this.wish.totals) {
      const { totals, at } = polled.totals;
      this.totals = { totals, asOf: null, polledAt: known(at) };
    }
  }

  /** Takes over what the holder has. */
  restore(
    items: readonly Shown[],
    epoch: string | null,
    stalled: Stall | null,
    refused: readonly (readonly [string, string])[],
  ): void {
    if (epoch !== null && epoch !== this.epoch) this.#begin(epoch);
    this.stalled = stalled;
    for (const shown of items) {
      const id = shown.summary.facility_id;
      if (follows(this.wish, id)) this.items.set(id, { ...shown });
    }
    for (const [id, reason] of refused)
      if (this.wish.facilities.has(id)) this.refused.set(id, reason);
  }

  /** Somebody else is signed in here, or nobody: what was shown is not theirs to see. */
  forget(): void {
    this.items.clear();
    this.refused.clear();
    [this.totals, this.epoch, this.stalled, this.#allAsOf] = [null, null, null, null];
  }

  /** This machine has slept: what was counted by its time does not count. */
  forgetPolled(): void {
    for (const shown of this.items.values()) shown.polledAt = null;
    if (this.totals) this.totals.polledAt = null;
  }

  /** How old the figures of a facility are at most; `null` where that is not known. */
  ageOf(facility: string): number | null {
    const shown = this.items.get(facility);
    return shown ? this.#age(shown) : null;
  }

  /** How old anything is that `wish` follows, at most; `null` where that is not known. */
  age(wish: Wish = this.wish): number | null {
    const ages: (number | null)[] = [];
    // What is refused for the moment may still be shown.
    for (const id of wish.facilities)
      if (this.items.has(id) || !this.refused.has(id)) ages.push(this.ageOf(id));
    if (wish.totals) ages.push(this.totals ? this.#age(this.totals) : null);
    if (wish.all) {
      if (this.items.size === 0) ages.push(this.#age({ asOf: this.#allAsOf, polledAt: null }));
      for (const shown of this.items.values()) ages.push(this.#age(shown));
    }
    if (ages.length === 0 || ages.includes(null)) return null;
    return ages.reduce((oldest, age) => Math.max(oldest!, age!), 0);
  }

  #begin(epoch: string | null): void {
    if (this.epoch !== null) {
      this.items.clear();
      this.totals = null;
      this.#allAsOf = null;
    }
    this.epoch = epoch;
  }

  #show({ summary, etag, as_of, cannot_be_counted }: Item): void {
    const id = summary.facility_id;
    if (!follows(this.wish, id)) return;
    this.refused.delete(id);
    const held = this.items.get(id);
    // The service sends nothing older than what it was told is known. But another server may be
    // behind, and is not told what came in a list, nor what is shown of all facilities.
    const isOfEpoch = held !== undefined && held.epoch === this.epoch && summary.version > 0;
    if (isOfEpoch && isOlder(summary, held.summary)) {
      held.isConfirmed = true;
      return;
    }
    this.items.set(id, {
      summary,
      etag,
      asOf: instant(as_of),
      polledAt: null,
      epoch: this.epoch,
      isConfirmed: true,
      cannotBeCounted: cannot_be_counted ?? false,
    });
  }

  /** The connection has everything of what it follows up to then, as far as that can be counted. */
  #prove(beat: FromService & { type: "heartbeat" }, covers: Wish): void {
    const exact = instant(beat.exact_as_of);
    if (exact === null || this.#isAhead(beat.cannot_be_counted?.facilities ?? 0, covers)) return;
    if (covers.all) {
      this.#allAsOf = exact;
      // Who follows all is sent all. What did not come is there no more.
      for (const [id, shown] of this.items)
        if (!shown.isConfirmed) this.items.delete(id);
      for (const id of this.wish.facilities)
        if (!this.items.has(id) && !this.refused.has(id)) this.refused.set(id, "unknown");
    }
    for (const [id, shown] of this.items)
      if (follows(covers, id) && !shown.cannotBeCounted)
        shown.asOf = Math.max(shown.asOf ?? exact, exact);
    if (covers.totals && this.totals)
      this.totals.asOf = Math.max(this.totals.asOf ?? exact, exact);
  }

  /** Whether facilities cannot be counted of which nothing here says so: then any may be one. */
  #isAhead(uncounted: number, covers: Wish): boolean {
    if (covers.all && !this.wish.all) return false; // it may be one that only another tab shows
    const items = [...this.items].filter(([id]) => follows(covers, id));
    const said = items.filter(([, shown]) => shown.cannotBeCounted).length;
    const missing = [...covers.facilities].filter((id) => !this.items.has(id)).length;
    return uncounted > said + missing;
  }

  #drop(facility: string, reason: string): void {
    this.items.delete(facility);
    if (this.wish.facilities.has(facility)) this.refused.set(facility, reason);
  }

  #age(of: { asOf: number | null; polledAt: number | null }): number | null {
    const at = this.#localAt(of);
    return at === null ? null : Math.max(0, this.#clock.now() - at);
  }

  /** The latest time of `performance.now` as of which it is known to be exact. */
  #localAt({ asOf, polledAt }: { asOf: number | null; polledAt: number | null }): number | null {
    const latest = this.#clock.latest();
    const byService = asOf !== null && latest !== null ? this.#clock.now() - latest + asOf : null;
    if (byService === null || polledAt === null) return byService ?? polledAt;
    return Math.max(byService, polledAt);
  }
}

/** A time that is not known is given as minus infinity. */
function known(at: number): number | null {
  return Number.isFinite(at) ? at : null;
}

/** Versions of a facility rise, also from day to day; a day without figures has version 0. */
function isOlder(summary: Summary, than: Summary): boolean {
  return summary.version < than.version && summary.date <= than.date;
}
