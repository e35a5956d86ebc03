//! The audit: looks at a few facility-days all the time, whatever the rebuild's schedule, and
//! repairs and counts what it finds. What changed the tables past the triggers shows within hours
//! in a large fleet and within seconds in a small one.

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

pub struct SampleAudit {
    pub repairer: Arc<Repairer>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub metrics: Arc<Metrics>,
    /// Whether this replica does what one of them is enough for.
    pub leads: Arc<AtomicBool>,
    /// Facility-days in one look.
    pub sample: usize,
}

/// One in so many of a sample is a past day, of the last so many before today.
const PAST_EVERY: usize = 5;
const PAST_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

impl SampleAudit {
    /// Looks at one sample, if this replica leads. Whether it did.
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

    /// Facilities at random, each with today or one past day of its own.
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
