//! All rendered days of one facility.

use std::sync::Arc;

use jiff::civil::Date;

use super::entry::Entry;

/// Bytes of a facility beside its entries: the cache's own bookkeeping.
const DAYS_OVERHEAD: usize = 350;

/// The days of a facility, by date. They share one entry of the cache, since the cache's
/// bookkeeping for an entry takes half as much as a body. The list is never changed: a writer
/// replaces it by a copy with other days, so that readers need no lock.
#[derive(Debug, Default)]
pub struct FacilityDays {
    by_date: Box<[(Date, Arc<Entry>)]>,
    /// The sum of the entries' weights. Kept, because the cache asks at each change of one day.
    entries_weight: usize,
}

impl FacilityDays {
    fn of(by_date: Vec<(Date, Arc<Entry>)>) -> Self {
        let entries_weight = by_date.iter().map(|(_, entry)| entry.weight()).sum();
        FacilityDays { by_date: by_date.into_boxed_slice(), entries_weight }
    }

    /// The entry of a date.
    pub fn get(&self, date: Date) -> Option<&Arc<Entry>> {
        self.by_date
            .binary_search_by_key(&date, |(date, _)| *date)
            .ok()
            .map(|at| &self.by_date[at].1)
    }

    /// The entries of `count` dates that follow each other in the list, oldest first, the last of
    /// them at `newest`; `None` where the list does not have that many.
    pub(super) fn up_to(&self, newest: Date, count: usize) -> Option<&[(Date, Arc<Entry>)]> {
        let at = self.by_date.binary_search_by_key(&newest, |(date, _)| *date).ok()?;
        self.by_date.get((at + 1).checked_sub(count)?..=at)
    }

    /// A copy with this entry in place of the date's old one.
    pub(super) fn with(&self, date: Date, entry: Arc<Entry>) -> Self {
        let mut days = Vec::with_capacity(self.by_date.len() + 1);
        let mut entries_weight = self.entries_weight + entry.weight();
        match self.by_date.binary_search_by_key(&date, |(date, _)| *date) {
            Ok(at) => {
                days.extend_from_slice(&self.by_date);
                entries_weight -= days[at].1.weight();
                days[at].1 = entry;
            }
            Err(at) => {
                days.extend_from_slice(&self.by_date[..at]);
                days.push((date, entry));
                days.extend_from_slice(&self.by_date[at..]);
            }
        }
        FacilityDays { by_date: days.into_boxed_slice(), entries_weight }
    }

    /// A copy with these entries in place of the dates' old ones.
    pub(super) fn with_all(&self, entries: Vec<(Date, Arc<Entry>)>) -> Self {
        let mut days: Vec<_> = entries.into_iter().chain(self.by_date.iter().cloned()).collect();
        // The sort is stable: of one date the new entry stands first, and is kept.
        days.sort_by_key(|(date, _)| *date);
        days.dedup_by_key(|(date, _)| *date);
        FacilityDays::of(days)
    }

    /// A copy without the days that have no row; `None` where there is none of them.
    pub(super) fn without_empty(&self) -> Option<Self> {
        let stored = |(_, entry): &&(Date, Arc<Entry>)| entry.version != 0;
        let days: Vec<_> = self.by_date.iter().filter(stored).cloned().collect();
        (days.len() < self.by_date.len()).then(|| FacilityDays::of(days))
    }

    /// The number of days held.
    pub fn len(&self) -> usize {
        self.by_date.len()
    }

    /// Whether no day is held.
    pub fn is_empty(&self) -> bool {
        self.by_date.is_empty()
    }

    /// The weight in bytes.
    pub fn weight(&self) -> u32 {
        u32::try_from(DAYS_OVERHEAD + self.entries_weight).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use uuid::Uuid;

    use super::*;
    use crate::domain::summary::{KnownFigures, Summary, SummaryRow};

    fn entry(day: i8, version: i64) -> (Date, Arc<Entry>) {
        let date = date(2026, 11, day);
        let summary = Summary { version, ..Summary::empty(Uuid::nil(), date, true) };
        let row = SummaryRow { summary, as_of_ms: 1, next_expires_at_ms: None, bounds: None };
        (date, Arc::new(Entry::new(&row, 1, None, KnownFigures::ALL)))
    }

    #[test]
    fn days_are_added_and_replaced_and_their_weight_is_the_sum_of_what_is_held() {
        let all = |days: &FacilityDays| -> Vec<(i8, i64)> {
            days.by_date.iter().map(|(date, entry)| (date.day(), entry.version)).collect()
        };
        let one = FacilityDays::default().with(entry(5, 1).0, entry(5, 1).1);
        let more = one.with_all(vec![entry(7, 3), entry(5, 2), entry(3, 0)]);
        assert_eq!(all(&more), [(3, 0), (5, 2), (7, 3)]);
        let again = more.with(entry(7, 12345).0, entry(7, 12345).1);
        assert_eq!(all(&again), [(3, 0), (5, 2), (7, 12345)]);
        assert_eq!(all(&again.without_empty().unwrap()), [(5, 2), (7, 12345)]);
        assert!(again.without_empty().unwrap().without_empty().is_none());
        for days in [&one, &more, &again] {
            let sum: usize = days.by_date.iter().map(|(_, entry)| entry.weight()).sum();
            assert_eq!(days.weight() as usize, DAYS_OVERHEAD + sum);
        }
    }
}
