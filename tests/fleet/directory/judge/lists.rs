//! The answers of several facilities or days: ranges, listings of a day, and the directory.

use std::collections::BTreeSet;

use jiff::civil::Date;
use uuid::Uuid;

use super::{Bug, Judge, directory_window};
use crate::directory::{
    figures::{possible_todays, todays},
    seen::{Answer, Entry, Item},
    truth::{Facility, Window},
};

impl Judge<'_> {
    pub(super) fn range(
        &mut self,
        answer: &Answer,
        facility: Uuid,
        from: Date,
        to: Date,
        items: &[Item],
        window: Window,
    ) {
        items.iter().for_each(|item| self.item(answer, item, window, false));
        let lasts: BTreeSet<Date> = possible_todays(self.truth, facility, window)
            .into_iter()
            .map(|today| today.min(to))
            .collect();
        if lasts.is_empty() {
            return self.complain(Bug::Unknown, answer, "the facility did not exist");
        }
        let dates: Vec<Date> = items.iter().map(|item| item.date).collect();
        let is_whole = |last: &Date| days_down(*last, from) == dates;
        if !lasts.iter().any(is_whole) || items.iter().any(|item| item.facility != facility) {
            self.complain(
                Bug::Parts,
                answer,
                format!("{dates:?} from {from}, but the possible last days are {lasts:?}"),
            );
        }
    }

    pub(super) fn listing(
        &mut self,
        answer: &Answer,
        date: Option<Date>,
        items: &[Item],
        totals: Option<(i64, i64, i64, i64)>,
        window: Window,
    ) {
        let mut shown: BTreeSet<Uuid> = BTreeSet::new();
        // Pages are ordered by name. A facility that is renamed meanwhile may come twice, or move
        // others to a page that was read already.
        let is_in_order = totals.is_some() || !self.is_anybody_renamed(window);
        for item in items {
            if !shown.insert(item.facility) && is_in_order {
                self.complain(
                    Bug::Parts,
                    answer,
                    format!("facility {} comes twice", item.facility),
                );
            }
            self.item(answer, item, window, date.is_none());
            if date.is_some_and(|date| date != item.date) {
                self.complain(Bug::Parts, answer, format!("a day of {}", item.date));
            }
        }
        let sum = |figure: fn(&Item) -> i64| items.iter().map(figure).sum::<i64>();
        let sums = (
            items.len() as i64,
            sum(|item| item.totals.0.unwrap_or(0)),
            sum(|item| item.totals.1),
            sum(|item| item.totals.2),
        );
        if totals.is_some_and(|totals| totals != sums) {
            self.complain(
                Bug::Parts,
                answer,
                format!("the totals are {totals:?}, but the sums of the items are {sums:?}"),
            );
        }
        if !is_in_order {
            return;
        }
        let missing: Vec<Uuid> = self.certain(window, totals.is_none(), |known| {
            date.is_none_or(|date| {
                todays(&known.zone, window).first().is_some_and(|today| *today >= date)
            })
        });
        self.lacks(answer, &missing, &shown);
    }

    fn is_anybody_renamed(&self, window: Window) -> bool {
        let names = |id: &Uuid| {
            self.truth
                .facilities
                .possible(*id, window)
                .into_iter()
                .flatten()
                .map(|known| known.name.as_str())
                .collect()
        };
        self.truth.facilities.0.keys().map(names).any(|names: BTreeSet<&str>| names.len() > 1)
    }

    pub(super) fn directory(&mut self, answer: &Answer, entries: &[Entry], window: Window) {
        let window = directory_window(answer, window);
        let mut shown: BTreeSet<Uuid> = BTreeSet::new();
        for entry in entries {
            if !shown.insert(entry.facility) {
                self.complain(
                    Bug::Parts,
                    answer,
                    format!("facility {} comes twice", entry.facility),
                );
            }
            self.entry(answer, entry, window);
        }
        let missing = self.certain(window, true, |_| true);
        self.lacks(answer, &missing, &shown);
    }

    /// Facilities that existed for the whole window. If pages may have been read meanwhile, only
    /// those that kept their name.
    fn certain(
        &self,
        window: Window,
        keeps_its_place: bool,
        is_due: impl Fn(&Facility) -> bool,
    ) -> Vec<Uuid> {
        let is_certain = |id: &&Uuid| {
            let states = self.truth.facilities.possible(**id, window);
            let names: BTreeSet<&str> =
                states.iter().flatten().map(|known| known.name.as_str()).collect();
            states.iter().all(|state| state.is_some_and(&is_due))
                && !(keeps_its_place && names.len() > 1)
        };
        self.truth.facilities.0.keys().filter(is_certain).copied().collect()
    }

    fn lacks(&mut self, answer: &Answer, certain: &[Uuid], shown: &BTreeSet<Uuid>) {
        self.verdict.judged += certain.len();
        for facility in certain.iter().filter(|facility| !shown.contains(facility)) {
            self.complain(
                Bug::Missing,
                answer,
                format!("facility {facility} is missing{}", self.before(*facility, answer)),
            );
        }
    }

    pub(super) fn missing_day(&mut self, answer: &Answer, date: Date, window: Window) {
        let begun = self.certain(window, false, |known| {
            todays(&known.zone, window).first().is_some_and(|today| *today >= date)
        });
        if !begun.is_empty() {
            self.complain(
                Bug::Missing,
                answer,
                format!("{date} had begun at {} facilities", begun.len()),
            );
        }
    }
}

/// From the last day down to the first, both included.
fn days_down(last: Date, first: Date) -> Vec<Date> {
    let mut days = Vec::new();
    let mut day = last;
    while day >= first {
        days.push(day);
        match day.yesterday() {
            Ok(before) => day = before,
            Err(_) => break,
        }
    }
    days
}
