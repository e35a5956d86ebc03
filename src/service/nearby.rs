//! Rows of streaming replicas of the database, as long as those tell the history that is served.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    cache::memory::Key,
    changes::Changes,
    metrics::Metrics,
    store::{Store, TableRead},
};

pub struct Nearby {
    store: Arc<dyn Store>,
    changes: Arc<Changes>,
    metrics: Arc<Metrics>,
    /// Servers that told another history when they were asked last.
    strangers: Mutex<HashSet<Arc<str>>>,
}

impl Nearby {
    pub fn new(store: Arc<dyn Store>, changes: Arc<Changes>, metrics: Arc<Metrics>) -> Self {
        Nearby { store, changes, metrics, strangers: Mutex::default() }
    }

    /// What a streaming replica says of these keys. How old that is, is for the caller to judge. `None` where there is none that answers,
    /// or the one that did is of another history.
    pub async fn summaries(&self, keys: &[Key]) -> Option<TableRead> {
        let read = self.store.summaries_nearby(keys).await?;
        let is_ours = self.changes.serve(&read.epoch);
        self.take_note(&read, is_ours);
        is_ours.then_some(read)
    }

    fn take_note(&self, read: &TableRead, is_ours: bool) {
        let Some(replica) = &read.replica else { return };
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ours {
            if strangers.remove(replica) {
                tracing::info!(%replica, "the streaming replica tells the primary's history again; it is read from");
            }
            return;
        }
        self.metrics.replica_strangers.inc();
        if strangers.insert(replica.clone()) {
            tracing::warn!(
                %replica,
                "a server of database.read_url tells another history than the primary, and is not read from; if it is no replica of this very database, correct database.read_url (DATABASE_READ_URL); one that lags behind a failover catches up by itself"
            );
        }
    }
}
