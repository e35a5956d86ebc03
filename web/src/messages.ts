// What the service and a client say to each other.
import type { components } from "./generated.js";

type Schemas = components["schemas"];

/** The figures of a facility's day. */
export type Summary = Schemas["Summary"];
/** The sums over facilities. */
export type Totals = Schemas["Totals"];
/** A page of a day of all facilities. */
export type Listing = Schemas["Listing"];
/** Who one is. */
export type Me = Schemas["Me"];
/** A message of the service. */
export type FromService = Schemas["FromService"];
/** A message of a client. */
export type FromClient = Schemas["FromClient"];
/** A summary with its entity tag. */
export type Item = Schemas["Item"];

/** What is followed. */
export interface Wish {
  /** These facilities. */
  readonly facilities: ReadonlySet<string>;
  /** Every facility that one may see. */
  readonly all: boolean;
  /** The sums over them. */
  readonly totals: boolean;
}

/** Nothing. */
export const NOTHING: Wish = { facilities: new Set(), all: false, totals: false };

/** What several follow together. */
export function union(wishes: Iterable<Wish>): Wish {
  const facilities = new Set<string>();
  let [all, totals] = [false, false];
  for (const wish of wishes) {
    for (const id of wish.facilities) facilities.add(id);
    all ||= wish.all;
    totals ||= wish.totals;
  }
  return { facilities, all, totals };
}

/** Whether both follow the same. */
export function sameWish(one: Wish, other: Wish): boolean {
  const { facilities } = other;
  return one.all === other.all && one.totals === other.totals
    && one.facilities.size === facilities.size
    && [...one.facilities].every((id) => facilities.has(id));
}

/** Whether a facility is followed. */
export function follows(wish: Wish, facility: string): boolean {
  return wish.all || wish.facilities.has(facility);
}

/** An instant in milliseconds; `null` where there is none. */
export function instant(text: string | null | undefined): number | null {
  const ms = text ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? null : ms;
}
