//! Compares the mapped tables of another program with what they were: the owner may rename a column
//! or add a label to an enum at any time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    jobs::drain::Drain,
    metrics::Metrics,
    store::{self, SourceLag, SourceState, Store},
};

/// How often it is made while the tables are in doubt.
const DOUBTFUL: Duration = Duration::from_secs(2);

/// The comparison with all parts that it uses.
pub struct SourceComparison {
    /// How often it is made.
    pub interval: Duration,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// While it fails, the tables may have been changed.
    pub drain: Arc<Drain>,
    /// When the last comparison began.
    pub began: Mutex<Option<Instant>>,
    /// What the last comparison found.
    pub state: ArcSwap<SourceState>,
    /// Whether that breaks the mapping: figures cannot be read.
    pub are_broken: Arc<AtomicBool>,
}

impl SourceComparison {
    /// Compares if that is due: after the interval, and at once while the drain fails or until
    /// what broke the mapping is repaired.
    pub async fn run_once(&self) -> store::Result<bool> {
        let is_doubtful = self.drain.failing.class().is_some()
            || self.state.load().changes.iter().any(|change| change.breaks);
        let interval = if is_doubtful { self.interval.min(DOUBTFUL) } else { self.interval };
        {
            let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
            if began.is_some_and(|began| began.elapsed() < interval) {
                return Ok(false);
            }
            *began = Some(Instant::now());
        }
        let state = Arc::new(self.store.source_state().await?);
        let changes = &state.changes;
        self.are_broken.store(changes.iter().any(|change| change.breaks), Ordering::Relaxed);
        for (kind, breaks) in [("broken", true), ("changed", false)] {
            let number = changes.iter().filter(|change| change.breaks == breaks).count();
            self.metrics
                .source_changes
                .with_label_values(&[kind])
                .set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        self.metrics.source_lag.reset();
        for SourceLag { subscription, seconds } in &state.lags {
            let lag = self.metrics.source_lag.with_label_values(&[subscription]);
            lag.set(seconds.unwrap_or(-1));
        }
        let before = &self.state.swap(state.clone()).changes;
        for change in changes.iter().filter(|change| !before.contains(change)) {
            match change.breaks {
                true => tracing::error!(
                    change = change.text,
                    "the mapped tables were changed: their figures cannot be read any more, and \
                     the last ones are served with their age"
                ),
                false => tracing::warn!(
                    change = change.text,
                    "the mapped tables were changed: figures may mean something else now"
                ),
            }
        }
        if changes.is_empty() && !before.is_empty() {
            tracing::info!("the mapped tables are again as the mapping knows them");
        }
        Ok(true)
    }
}
