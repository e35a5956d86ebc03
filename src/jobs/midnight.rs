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
    pub opened: Mutex<HashMap<String, Date>>,
    /// Ends a run after the current chunk of facilities.
    pub stop: CancellationToken,
}

impl Midnight {
    /// Opens the new day in each zone where the day has changed since the last run; the first run
    /// checks all zones. Returns how many facilities it opened.
    pub async fn run_once(&self) -> store::Result<usize> {
        let now_ms = self.clock.now_ms();
        let facilities = self.directory.by_name();
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let due: Vec<&Arc<Facility>> = facilities
            .iter()
            .filter(|f| opened.get(&f.zone.name) != Some(&f.zone.today(now_ms).date))
            .collect();
        if due.is_empty() {
            return Ok(0);
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
        opened.extend(due.iter().map(|f| (f.zone.name.clone(), f.zone.today(now_ms).date)));
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
            self.refresher.run_each(keys, RefreshTrigger::Schedule).await.1?;
            tracing::info!(facilities = opened, "days opened");
        }
        Ok(opened)
    }
}
