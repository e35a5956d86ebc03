//! The midnight job: at the midnight of each zone it closes the day before and opens the new one,
//! for every facility in the zone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::civil::Date;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::Clock,
    directory::Directory,
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Key},
    },
    metrics::RefreshTrigger,
    service::refresh::Refresher,
    store,
    store::{Store, StoredBounds},
};

/// How long after a midnight the days are checked once more, in milliseconds. The database's clock
/// may go back over the midnight by a second without notice; an event then opens the day before.
const SETTLED_MS: i64 = 2_000;

/// A check that found, or made, the day open at all facilities of a zone.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    date: Date,
    checked_at_ms: i64,
}

impl Opened {
    fn is_due(known: Option<&Opened>, today: &Day, now_ms: i64) -> bool {
        let settled_ms = today.start_ms.saturating_add(SETTLED_MS);
        known.is_none_or(|known| {
            known.date != today.date || (known.checked_at_ms < settled_ms && settled_ms <= now_ms)
        })
    }
}

/// The midnight job with all parts that it uses.
pub struct Midnight {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Runs the refreshes.
    pub refresher: Arc<Refresher>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// The most facilities that one transaction opens.
    pub chunk: usize,
    /// The day that all facilities of each zone are known to have opened, by the zone's name.
    pub opened: Mutex<HashMap<String, Opened>>,
    /// Ends a run after the current chunk of facilities.
    pub stop: CancellationToken,
}

impl Midnight {
    /// Opens the new day in each zone where the day has changed since the last run; the first run
    /// checks all zones. A little after midnight it checks once more. Returns how many facilities
    /// it opened.
    pub async fn run_once(&self) -> store::Result<usize> {
        let now_ms = self.clock.now_ms();
        let facilities = self.directory.by_name();
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_due = |f: &&Arc<Facility>| {
            Opened::is_due(opened.get(&f.zone.name), &f.zone.today(now_ms), now_ms)
        };
        let due: Vec<&Arc<Facility>> = facilities.iter().filter(is_due).collect();
        if due.is_empty() {
            return Ok(0);
        }
        {
            // Where this run fails, nothing is known of these zones.
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            for facility in &due {
                opened.remove(&facility.zone.name);
            }
        }
        let (mut count, mut result) = (0, Ok(()));
        for chunk in due.chunks(self.chunk) {
            if self.stop.is_cancelled() {
                return Ok(count);
            }
            // A facility that is locked is tried again a second later; the others get their day
            // now.
            match self.open(chunk, now_ms).await {
                Ok(opened) => count += opened,
                Err(error) => result = Err(error),
            }
        }
        result?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.extend(due.iter().map(|f| {
            let date = f.zone.today(now_ms).date;
            (f.zone.name.clone(), Opened { date, checked_at_ms: now_ms })
        }));
        Ok(count)
    }

    /// Opens today, and closes yesterday, for those of the facilities that have no row of today.
    /// Returns how many those are.
    async fn open(&self, facilities: &[&Arc<Facility>], now_ms: i64) -> store::Result<usize> {
        let todays: HashMap<Uuid, Day> =
            facilities.iter().map(|f| (f.id, f.zone.today(now_ms))).collect();
        let keys: Vec<Key> =
            todays.iter().map(|(id, day)| Key { facility_id: *id, date: day.date }).collect();
        let stored = self.store.stored_bounds(&keys).await?;
        let is_open = |row: &&StoredBounds| row.is_of(&todays[&row.key.facility_id]);
        let open: HashSet<Uuid> =
            stored.iter().filter(is_open).map(|row| row.key.facility_id).collect();
        let keys: Vec<DayKey> = facilities
            .iter()
            .filter(|f| !open.contains(&f.id))
            .flat_map(|facility| {
                let today = facility.zone.today(now_ms);
                let yesterday = Day::containing(&facility.zone.tz, today.start_ms - 1);
                [yesterday, today].map(|day| DayKey { facility: (*facility).clone(), day })
            })
            .collect();
        let opened = keys.len() / 2;
        if opened > 0 {
            self.refresher.run_each(keys, RefreshTrigger::Schedule).await.result?;
            tracing::info!(facilities = opened, "days opened");
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_checked_at_their_midnight_and_once_more_a_little_later() {
        let today = Day::named(&jiff::tz::TimeZone::UTC, jiff::civil::date(2026, 11, 28)).unwrap();
        let is_due = |checked: Option<(Date, i64)>, after_ms: i64| {
            let known = checked
                .map(|(date, after_ms)| Opened { date, checked_at_ms: today.start_ms + after_ms });
            Opened::is_due(known.as_ref(), &today, today.start_ms + after_ms)
        };
        let yesterday = today.date.yesterday().unwrap();
        assert!(is_due(None, 80_000));
        assert!(is_due(Some((yesterday, -500)), 0));
        assert!(!is_due(Some((today.date, 0)), 1_000));
        assert!(is_due(Some((today.date, 0)), SETTLED_MS));
        assert!(is_due(Some((today.date, 1_999)), 50_000));
        assert!(!is_due(Some((today.date, SETTLED_MS)), 50_000));
        // The clock was set back to the day before, and that was checked.
        assert!(is_due(Some((yesterday, -180_000)), 0));
    }
}
