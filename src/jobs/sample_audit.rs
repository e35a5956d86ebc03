//! The sample audit: it compares a few facility-days with their sources at regular intervals, even
//! without a scheduled rebuild, and repairs and counts what differs. It finds changes that left no
//! mark: within seconds when there are few facilities, within hours when there are very many.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand::seq::IteratorRandom;

use super::repair::{Repaired, Repairer};
use crate::{
    clock::Clock,
    directory::Directory,
    domain::{day::Day, facility::Facility, summary::DayKey},
    metrics::Metrics,
    store,
};

/// The sample audit with all parts that it uses.
pub struct SampleAudit {
    /// Compares and refreshes days.
    pub repairer: Arc<Repairer>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether this replica leads: one replica is enough for this job.
    pub leads: Arc<AtomicBool>,
    /// The most facility-days in one sample.
    pub sample: usize,
}

/// One in `PAST_EVERY` days of a sample is a past day, from the last `PAST_DAYS` days before today.
const PAST_EVERY: usize = 5;
const PAST_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

impl SampleAudit {
    /// Audits one sample if this replica leads. Returns whether it leads.
    pub async fn run_once(&self) -> store::Result<bool> {
        if !self.leads.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let keys = self.sample();
        let mut repaired = Repaired::default();
        self.repairer.repair(&keys, &mut repaired).await;
        self.metrics.audited_rows.inc_by((keys.len() - repaired.left.len()) as u64);
        match repaired.error {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }

    /// Picks facilities at random, each with its today or with one past day.
    fn sample(&self) -> Vec<DayKey> {
        let now_ms = self.clock.now_ms();
        let facilities = self.directory.by_name();
        let chosen = facilities.iter().sample(&mut rand::rng(), self.sample);
        chosen
            .into_iter()
            .map(|facility| DayKey {
                day: self.day_of(facility, now_ms),
                facility: facility.clone(),
            })
            .collect()
    }

    fn day_of(&self, facility: &Facility, now_ms: i64) -> Day {
        if !rand::random_ratio(1, PAST_EVERY as u32) {
            return facility.zone.today(now_ms);
        }
        let before_ms = facility.zone.today(now_ms).start_ms - 1;
        Day::containing(&facility.zone.tz, before_ms - rand::random_range(0..PAST_DAYS) * DAY_MS)
    }
}
