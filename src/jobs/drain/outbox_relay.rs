//! The outbox relay publishes committed rows that are perhaps not yet in the change stream. Then it
//! deletes them from the outbox.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Drain;
use crate::{
    cache::memory::FillToken,
    domain::{
        day::Day,
        summary::{DayKey, Key, SummaryRow},
    },
    metrics::RefreshTrigger,
    protocol::{Message, StoredEntry},
    store,
    store::{DrainSnapshot, unreadable::NEVER_MS},
};

/// The outbox in one drain snapshot.
pub struct OutboxRelay<'a> {
    seen: &'a DrainSnapshot,
    /// The keys that have a version in the snapshot that is not published.
    unpublished: BTreeSet<Key>,
}

impl<'a> OutboxRelay<'a> {
    /// `is_published` says whether this version of the key, or a newer one, is published in the
    /// generation of the snapshot.
    pub fn of(seen: &'a DrainSnapshot, is_published: impl Fn(&Key, i64) -> bool) -> Self {
        let unseen = seen
            .outbox
            .iter()
            .filter(|(_, key, version)| !is_published(key, *version))
            .map(|(_, key, _)| *key);
        OutboxRelay { seen, unpublished: unseen.collect() }
    }

    /// The keys that are to be published.
    pub fn unseen(&self) -> Vec<Key> {
        self.unpublished.iter().copied().collect()
    }

    /// The entries to publish for these rows, which were read from the table after the snapshot;
    /// `token` was taken before the snapshot. No entry is exact as of a later instant than the
    /// snapshot: a row from before the database's clock was set back may name an instant in the
    /// future.
    pub fn entries(&self, token: &FillToken, rows: Vec<SummaryRow>) -> Vec<StoredEntry> {
        let at_most = |row: SummaryRow| {
            let as_of_ms = row.as_of_ms.min(self.seen.at_ms);
            row.known_as_of(as_of_ms)
        };
        rows.into_iter()
            .map(|row| StoredEntry { row: at_most(row), since: token.position })
            .collect()
    }

    /// Records that the rows of these keys, read after the snapshot, are now in the stream in the
    /// generation of the snapshot.
    pub fn published(&mut self, keys: &[Key]) {
        self.unpublished.retain(|key| !keys.contains(key));
    }

    /// Whether the snapshot shows the whole outbox (it takes `batch` rows at most), and each row
    /// is published.
    pub fn is_all_published(&self, batch: usize) -> bool {
        self.unpublished.is_empty() && self.seen.outbox.len() < batch
    }

    /// The ids of outbox rows that may be deleted, because their keys are published. They may be
    /// deleted even if another generation has begun since the snapshot: they were committed before
    /// it, so everything that its followers read from the database contains them.
    pub fn published_rows(&self) -> Vec<i64> {
        self.seen
            .outbox
            .iter()
            .filter(|(_, key, _)| !self.unpublished.contains(key))
            .map(|(id, ..)| *id)
            .collect()
    }
}

impl Drain {
    /// Publishes what no other server has published, and deletes from the outbox what is published.
    /// Returns true when nothing that the snapshot shows is left.
    pub(super) async fn publish_outbox(
        &self,
        token: &FillToken,
        seen: &DrainSnapshot,
    ) -> store::Result<bool> {
        if seen.outbox.is_empty() && seen.changed_facilities.is_empty() {
            return Ok(true);
        }
        let are_published = self.publish_facilities(seen).await?;
        let mut left = OutboxRelay::of(seen, |key, version| {
            self.changes.have_shown(seen.generation, key, version)
        });
        for keys in left.unseen().chunks(Message::ROWS) {
            if self.publish(token, &left, keys).await? {
                left.published(keys);
            }
        }
        let read: Vec<i64> = if are_published {
            seen.changed_facilities.iter().map(|(id, _)| *id).collect()
        } else {
            Vec::new()
        };
        let is_all = left.is_all_published(self.batch)
            && are_published
            && seen.changed_facilities.len() < self.batch;
        let forgotten = self.may_forget(seen)
            && self.store.forget_published(&left.published_rows(), &read).await?;
        if !left.unpublished.is_empty() && seen.outbox.len() == self.batch {
            self.store.compact_outbox().await?;
        }
        Ok(is_all && forgotten)
    }

    /// Whether published rows may be deleted from the outbox. A server without a stream must not
    /// delete what replicas with a stream have not received yet.
    fn may_forget(&self, seen: &DrainSnapshot) -> bool {
        self.changes.are_between_replicas() || seen.servers <= 1 || seen.generation == 0
    }

    async fn publish(
        &self,
        token: &FillToken,
        left: &OutboxRelay<'_>,
        keys: &[Key],
    ) -> store::Result<bool> {
        self.load_unknown(keys).await?;
        let read = self.store.summaries(keys).await?;
        if read.epoch != left.seen.epoch {
            // The rows are of another epoch than the snapshot, so followers of the snapshot's epoch
            // cannot use them.
            return Ok(false);
        }
        let (unreadable, rows): (Vec<SummaryRow>, Vec<SummaryRow>) =
            read.rows.into_iter().partition(|row| row.as_of_ms == NEVER_MS);
        if !unreadable.is_empty() {
            self.repair_unreadable(&unreadable).await?;
        }
        // This pass keeps the outbox rows of repaired days, so a later pass publishes these days.
        Ok(self
            .append(left.seen.generation, &Message::Summaries(left.entries(token, rows)))
            .await?
            && unreadable.is_empty())
    }

    /// Derives days again when their rows cannot be read. While such a row exists, no watermark can
    /// be announced.
    async fn repair_unreadable(&self, unreadable: &[SummaryRow]) -> store::Result<()> {
        let keys = unreadable.iter().filter_map(|row| {
            let facility = self.directory.get(row.summary.facility_id)?;
            let day = Day::named(&facility.zone.tz, row.summary.date)?;
            Some(DayKey { facility, day })
        });
        self.refresher.run_each(keys.collect(), RefreshTrigger::Schedule).await.result
    }

    /// Reads facilities that the directory does not know. A command may have registered them in
    /// another process; the registration opened their first day.
    async fn load_unknown(&self, keys: &[Key]) -> store::Result<()> {
        let unknown: BTreeSet<Uuid> = keys
            .iter()
            .map(|key| key.facility_id)
            .filter(|id| self.directory.get(*id).is_none())
            .collect();
        if !unknown.is_empty() {
            self.directory.reload(&*self.store, &unknown.into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Sends the facilities that were registered, changed or removed to the other replicas, which
    /// read them again. Returns true when the message is in the stream.
    async fn publish_facilities(&self, seen: &DrainSnapshot) -> store::Result<bool> {
        let ids: BTreeSet<Uuid> = seen.changed_facilities.iter().map(|(_, id)| *id).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(true);
        }
        self.directory.reload(&*self.store, &ids).await?;
        self.append(seen.generation, &Message::Facilities(ids)).await
    }
}
