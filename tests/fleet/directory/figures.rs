//! Whether the figures of a facility's day are possible. Each row may count as it was at any
//! instant between the one that the answer claims to be exact as of and the answer itself. What was
//! committed before must count, and what came after must not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use uuid::Uuid;

use super::{
    seen::{ByType, Item, TYPES},
    truth::{Activity, Facility, Table, Truth, VISIBLE_MS, Window, possible},
};

/// How long before the end of a day the stock may have been read for the last time: two
/// passes of a slow drain.
const CLOSING_MS: i64 = 3_500;
/// The same if the day ended because the facility moved: a lock, or a replica that hung, may have
/// kept all replicas from reading it.
const MOVING_MS: i64 = 20_000;
/// How long a removal may wait until it is handled, while locks are held and replicas hang.
const UNNOTICED_MS: i64 = 20_000;

/// The local date of an instant.
pub fn date_in(zone: &str, at_ms: i64) -> Date {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC)).date()
}

/// The first instant of a date in a zone, in milliseconds.
pub fn start_of(zone: &str, date: Date) -> i64 {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    date.to_zoned(zone).map_or(i64::MAX, |start| start.timestamp().as_millisecond())
}

/// The dates that are `today` in the zone within the window.
pub fn todays(zone: &str, window: Window) -> BTreeSet<Date> {
    [window.from_ms.max(window.to_ms - 86_400_000), window.to_ms]
        .map(|at_ms| date_in(zone, at_ms))
        .into()
}

/// The days that may be the facility's today within the window, in the zones that it may have had.
pub fn possible_todays(truth: &Truth, facility: Uuid, window: Window) -> BTreeSet<Date> {
    let zones = truth.facilities.possible(facility, window).into_iter().flatten();
    zones.flat_map(|known| todays(&known.zone, window)).collect()
}

/// The sums that are possible, by type.
type Sums = [BTreeSet<i64>; TYPES.len()];

/// What a row may count for: a type and a quantity, or nothing.
type Choices = BTreeSet<Option<(usize, i64)>>;

/// Why the figures are impossible; `None` if they are possible.
pub fn contradicts(truth: &Truth, item: &Item, window: Window) -> Option<String> {
    let mut why = Vec::new();
    for known in truth.facilities.possible(item.facility, window).into_iter().flatten() {
        match in_zone(truth, item, window, known) {
            None => return None,
            Some(reason) => why.push(reason),
        }
    }
    why.dedup();
    Some(if why.is_empty() { "there was no such facility".to_owned() } else { why.join("; or ") })
}

fn in_zone(truth: &Truth, item: &Item, window: Window, known: &Facility) -> Option<String> {
    let todays = todays(&known.zone, window);
    if todays.last().is_none_or(|last| item.date > *last) {
        return Some(format!("{} has not begun in {}", item.date, known.zone));
    }
    let counted = |table: &Table<Activity>, ids: &[Uuid]| {
        sums(ids.iter().map(|id| of_day(table, *id, item, window, &known.zone)))
    };
    let none = super::truth::Concerns::default();
    let concerns = truth.concerns(item.facility).unwrap_or(&none);
    let transferred = counted(&truth.deliveries, &concerns.deliveries);
    let requests = counted(&truth.requests, &concerns.requests);
    let is_today = todays.contains(&item.date);
    let is_past = todays.first().is_some_and(|first| item.date < *first)
        || todays.len() > 1 && todays.first() == Some(&item.date);
    let mut why = differs("transferred", &item.transferred, &transferred)
        .or_else(|| differs("requests", &item.requests, &requests));
    if why.is_none() {
        let live = if is_today {
            live_stock(truth, item, window)
        } else {
            Some("it is no day of today".to_owned())
        };
        if live.is_some() {
            why = if is_past { closed_stock(truth, item, window) } else { live };
        }
    }
    why.map(|why| format!("in {}: {why}", known.zone))
}

/// What a delivery or request may count for on the day.
fn of_day(table: &Table<Activity>, id: Uuid, item: &Item, window: Window, zone: &str) -> Choices {
    let counts = |row: &Activity| {
        let is_of = row.facility == item.facility
            && row.at_ms.is_some_and(|at_ms| date_in(zone, at_ms) == item.date);
        is_of.then_some((row.kind, row.quantity))
    };
    possible(table.versions(id), window).map(|row| row.and_then(counts)).collect()
}

/// Why the stock cannot be that of the banks; `None` if it can.
fn live_stock(truth: &Truth, item: &Item, window: Window) -> Option<String> {
    let Some(stock) = &item.stock else {
        return Some("today has a stock, and it shows none".to_owned());
    };
    differs("stock", stock, &stocks(truth, item.facility, window))
}

/// What the banks of a facility may hold within a window.
fn stocks(truth: &Truth, facility: Uuid, window: Window) -> Sums {
    let ids = truth.concerns(facility).map_or(&[][..], |concerns| &concerns.units);
    sums(ids.iter().map(|id| {
        let mut choices = Choices::new();
        for unit in truth.units.possible(*id, window) {
            let Some(unit) = unit else {
                choices.insert(None);
                continue;
            };
            for bank in truth.banks.possible(unit.bank, window) {
                let is_here = bank.is_some_and(|bank| bank.facility == facility);
                let may_be_gone = unit.expires_ms.is_some_and(|at_ms| at_ms <= window.to_ms);
                let must_be_gone =
                    unit.expires_ms.is_some_and(|at_ms| at_ms + VISIBLE_MS <= window.from_ms);
                if !is_here || may_be_gone || must_be_gone {
                    choices.insert(None);
                }
                if is_here && !must_be_gone {
                    choices.insert(Some((unit.kind, unit.quantity)));
                }
            }
        }
        choices
    }))
}

/// Why the day cannot have closed with this stock; `None` if it can.
fn closed_stock(truth: &Truth, item: &Item, window: Window) -> Option<String> {
    let (periods, began_anew) = periods_as_today(truth, item.facility, item.date, window);
    let ended_before = |period: &&Period| period.end_ms + VISIBLE_MS <= window.from_ms;
    // The stock that it had before the window is certain. What came within the window may count or
    // not.
    let last = periods.iter().rfind(|period| ended_before(period));
    let within =
        periods.iter().filter(|period| !ended_before(period) && period.start_ms <= window.to_ms);
    let mut candidates: Vec<&Period> = last.into_iter().chain(within).collect();
    // The day may have been too short for any replica to read the stock.
    let mut may_be_none = began_anew || last.is_none();
    let mut at = periods.iter().position(|period| Some(period) == last).unwrap_or(0);
    while candidates.iter().all(|period| period.end_ms - period.start_ms < period.grace_ms()) {
        may_be_none |= at == 0;
        let Some(before) = at.checked_sub(1) else { break };
        candidates.push(&periods[before]);
        at = before;
    }
    let Some(stock) = &item.stock else {
        return (!may_be_none)
            .then(|| format!("{} was today, so it has closed with a recorded stock", item.date));
    };
    let mut why = None;
    for period in candidates {
        let looked = Window {
            from_ms: period.start_ms.max(period.end_ms - period.grace_ms()),
            to_ms: period.end_ms + VISIBLE_MS,
        };
        match differs("closing stock", stock, &stocks(truth, item.facility, looked)) {
            None => return None,
            found => why = found,
        }
    }
    Some(why.unwrap_or_else(|| {
        format!("{} was never today since it was registered, and has a stock", item.date)
    }))
}

/// A time for which a day was today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    start_ms: i64,
    end_ms: i64,
    /// The day ended at midnight, and not because the facility moved.
    ended_itself: bool,
}

impl Period {
    fn grace_ms(&self) -> i64 {
        if self.ended_itself { CLOSING_MS } else { MOVING_MS }
    }
}

/// The times for which the date was the facility's today, since it was last registered; oldest
/// first. The flag says that there may be none of them: the facility was registered anew within the
/// window, or so soon after a removal that it may not have been noticed.
fn periods_as_today(
    truth: &Truth,
    facility: Uuid,
    date: Date,
    window: Window,
) -> (Vec<Period>, bool) {
    let versions = truth.facilities.versions(facility);
    let (mut periods, mut began_anew): (Vec<Period>, bool) = (Vec::new(), false);
    let Ok(tomorrow) = date.tomorrow() else { return (periods, began_anew) };
    for (at, version) in
        versions.iter().enumerate().filter(|(_, version)| version.from_ms <= window.to_ms)
    {
        let Some(known) = &version.row else {
            // A facility that comes back before its removal is noticed was not removed for the
            // service. Its recorded stock may stay or go.
            let returned = versions
                .get(at + 1)
                .is_some_and(|next| next.from_ms - version.from_ms < UNNOTICED_MS);
            if version.from_ms + VISIBLE_MS <= window.from_ms && !returned {
                periods.clear();
            } else {
                began_anew = true;
            }
            continue;
        };
        let until_ms = versions.get(at + 1).map_or(i64::MAX, |next| next.from_ms);
        let (opens_ms, closes_ms) = (start_of(&known.zone, date), start_of(&known.zone, tomorrow));
        let period = Period {
            start_ms: opens_ms.max(version.from_ms),
            end_ms: closes_ms.min(until_ms),
            ended_itself: closes_ms <= until_ms,
        };
        if period.start_ms >= period.end_ms {
            continue;
        }
        match periods.last_mut() {
            // The facility was renamed, or moved to a zone with the same day.
            Some(last) if last.end_ms == period.start_ms => {
                (last.end_ms, last.ended_itself) = (period.end_ms, period.ended_itself)
            }
            _ => periods.push(period),
        }
    }
    (periods, began_anew)
}

/// The possible sums of rows, where each row may be any of its choices.
fn sums(rows: impl Iterator<Item = Choices>) -> Sums {
    let mut sums: Sums = std::array::from_fn(|_| BTreeSet::from([0]));
    for choices in rows {
        let mut by_type: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
        for (kind, quantity) in choices.iter().flatten() {
            by_type.entry(*kind).or_default().insert(*quantity);
        }
        let certain = by_type.len() == 1 && !choices.contains(&None);
        for (kind, mut quantities) in by_type {
            if !certain {
                quantities.insert(0);
            }
            sums[kind] = sums[kind]
                .iter()
                .flat_map(|sum| quantities.iter().map(move |quantity| sum + quantity))
                .collect();
        }
    }
    sums
}

fn differs(what: &str, shown: &ByType, may_be: &Sums) -> Option<String> {
    let wrong = (0..TYPES.len()).find(|at| !may_be[*at].contains(&shown[*at]))?;
    let some: Vec<String> = may_be[wrong].iter().take(6).map(ToString::to_string).collect();
    let more = if may_be[wrong].len() > 6 { ", …" } else { "" };
    Some(format!(
        "{what} of {} is {}, but the possible values are {}{more}",
        TYPES[wrong],
        shown[wrong],
        some.join(", ")
    ))
}
