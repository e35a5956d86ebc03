//! Compares figures with the owner's own queries, once a day (`[[sources.check]]`). What differs is
//! listed and counted, and never written: which of the two is wrong, only a person can tell.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    directory::Directory,
    domain::{day::Day, summary::DayKey},
    metrics::Metrics,
    store::{self, CheckReport, Store},
};

const DAY: Duration = Duration::from_secs(86_400);
/// The most differences that are logged one by one.
const LOGGED: usize = 20;

/// The comparison with all parts that it uses.
pub struct OwnersCheck {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether this replica leads: one replica is enough for this job.
    pub leads: Arc<AtomicBool>,
    /// When the last comparison began.
    pub began: Mutex<Option<Instant>>,
}

impl OwnersCheck {
    /// Compares if this replica leads and has not compared for a day. Returns whether it did.
    pub async fn run_once(&self) -> store::Result<bool> {
        let before = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = before.is_none_or(|began| began.elapsed() >= DAY);
        if !is_due || !self.leads.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let began = Instant::now();
        let report = check(&*self.store, &self.directory).await?;
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        // A query that fails is one figure at least that nobody has compared.
        let (differ, failed) = (report.differences.len(), report.failed.len());
        self.metrics
            .source_check_differences
            .set(i64::try_from(differ + failed).unwrap_or(i64::MAX));
        for difference in report.differences.iter().take(LOGGED) {
            tracing::warn!(%difference, "a query of the owner has another figure");
        }
        for failure in report.failed.iter().take(LOGGED) {
            tracing::error!(%failure, "a query of the owner cannot be compared");
        }
        tracing::info!(
            compared = report.compared,
            differ,
            failed,
            "figures were compared with the owner's own queries"
        );
        Ok(true)
    }
}

/// Compares now.
///
/// # Errors
/// The database fails.
pub async fn check(store: &dyn Store, directory: &Directory) -> store::Result<CheckReport> {
    let day = |id, date| {
        let facility = directory.get(id)?;
        let day = Day::named(&facility.zone.tz, date)?;
        Some(DayKey { facility, day })
    };
    store.owners_check(&day).await
}
