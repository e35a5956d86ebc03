//! Midnight: at each zone's, the day before is closed and the new one opened, for every facility in
//! the zone.

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
        summary::{DayKey, SummaryRow},
    },
    metrics::Trigger,
    service::refresh::Refresher,
    store,
    store::Store,
};

pub struct Midnight {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    /// Facilities opened in one transaction.
    pub chunk: usize,
    /// The day that each zone's facilities are known to have opened.
    pub opened: Mutex<HashMap<String, Date>>,
    /// Ends a look after the facilities at hand.
    pub stop: CancellationToken,
}

impl Midnight {
    /// Opens the day where a zone's has changed since the last look (at the first look: all).
    /// Answers the facilities opened.
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
            // A facility whose lock somebody holds is tried again in a second; the others have
            // their day.
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

    async fn open(&self, facilities: &[&Arc<Facility>], now_ms: i64) -> store::Result<usize> {
        let todays: HashMap<Uuid, Day> =
            facilities.iter().map(|f| (f.id, f.zone.today(now_ms))).collect();
        let rows = self
            .store
            .summaries(&todays.iter().map(|(id, day)| (*id, day.date)).collect::<Vec<_>>())
            .await?
            .rows;
        let is_open = |row: &&SummaryRow| row.is_of(&todays[&row.summary.facility_id]);
        let open: HashSet<Uuid> =
            rows.iter().filter(is_open).map(|row| row.summary.facility_id).collect();
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
            self.refresher.run_each(keys, Trigger::Schedule).await.1?;
            tracing::info!(facilities = opened, "days opened");
        }
        Ok(opened)
    }
}
