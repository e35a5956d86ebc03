//! Reads of standbys, the streaming servers of the database. They count only while a standby is of
//! the epoch that is served.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    changes::Changes,
    domain::summary::Key,
    metrics::Metrics,
    store::{Store, TableRead},
};

/// Reads standbys, and logs those that are of another epoch.
pub struct StandbyReads {
    store: Arc<dyn Store>,
    changes: Arc<Changes>,
    metrics: Arc<Metrics>,
    /// The standbys that were of another epoch when they were read last.
    mismatched: Mutex<HashSet<Arc<str>>>,
}

impl StandbyReads {
    /// Reads through `store`; `changes` says which epoch is served.
    pub fn new(store: Arc<dyn Store>, changes: Arc<Changes>, metrics: Arc<Metrics>) -> Self {
        StandbyReads { store, changes, metrics, mismatched: Mutex::default() }
    }

    /// What a standby has of these keys. The caller judges how old that is. `None` where no standby
    /// answers, or the one that did is of another epoch.
    pub async fn summaries(&self, keys: &[Key]) -> Option<TableRead> {
        let read = self.store.summaries_on_standby(keys).await?;
        let is_ours = self.changes.serve(&read.epoch);
        self.take_note(&read, is_ours);
        is_ours.then_some(read)
    }

    fn take_note(&self, read: &TableRead, is_ours: bool) {
        let Some(standby) = &read.standby else { return };
        let mut mismatched = self.mismatched.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ours {
            if mismatched.remove(standby) {
                tracing::info!(
                    %standby,
                    "the standby is of the primary's epoch again, and is read from"
                );
            }
            return;
        }
        self.metrics.standby_mismatches.inc();
        if mismatched.insert(standby.clone()) {
            tracing::warn!(
                %standby,
                "a server of database.read_url is of another epoch than the primary, and is not \
                 read from; if it is no standby of this very database, correct database.read_url \
                 (DATABASE_READ_URL); one that lags behind a failover catches up by itself"
            );
        }
    }
}
