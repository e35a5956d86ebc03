//! Compares the mapped tables of another program with what they were: the owner may rename a column
//! or add a label to an enum at any time.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    metrics::Metrics,
    store::{self, SourceChange, Store},
};

/// The comparison with all parts that it uses.
pub struct SourceComparison {
    /// How often it is made.
    pub interval: Duration,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What the last comparison found.
    pub changes: ArcSwap<Vec<SourceChange>>,
}

impl SourceComparison {
    /// Compares once.
    pub async fn run_once(&self) -> store::Result<bool> {
        let changes = self.store.source_changes().await?;
        for (kind, breaks) in [("broken", true), ("changed", false)] {
            let number = changes.iter().filter(|change| change.breaks == breaks).count();
            self.metrics
                .source_changes
                .with_label_values(&[kind])
                .set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let before = self.changes.swap(Arc::new(changes.clone()));
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
