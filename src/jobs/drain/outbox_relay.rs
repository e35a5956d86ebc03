//! What was committed and is not known to have come by in the change stream: its publication, and
//! the end of its place in the outbox.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Drain;
use crate::{
    cache::memory::FillToken,
    domain::{
        day::Day,
        summary::{DayKey, Key, SummaryRow},
    },
    metrics::Trigger,
    protocol::{Message, StoredEntry},
    store,
    store::{DrainSnapshot, unreadable::NEVER_MS},
};

/// The outbox as one look saw it.
pub struct OutboxRelay<'a> {
    seen: &'a DrainSnapshot,
    /// What has not come by in the stream that the look found.
    unseen: BTreeSet<Key>,
}

impl<'a> OutboxRelay<'a> {
    /// `has_come_by` answers whether this version of the key, or a newer one, came by in the
    /// generation of the look.
    pub fn of(seen: &'a DrainSnapshot, has_come_by: impl Fn(&Key, i64) -> bool) -> Self {
        let unseen = seen
            .outbox
            .iter()
            .filter(|(_, id, date, version)| !has_come_by(&(*id, *date), *version))
            .map(|(_, id, date, _)| (*id, *date));
        OutboxRelay { seen, unseen: unseen.collect() }
    }

    /// What is to be published.
    pub fn unseen(&self) -> Vec<Key> {
        self.unseen.iter().copied().collect()
    }

    /// What is published of these rows, read from the table since the look; `token` was taken
    /// before it. None is exact as of later than the look: a row of before the database's clock
    /// was set back claims an instant that is yet to come.
    pub fn entries(&self, token: &FillToken, rows: Vec<SummaryRow>) -> Vec<StoredEntry> {
        let at_most =
            |row: SummaryRow| SummaryRow { as_of_ms: row.as_of_ms.min(self.seen.at_ms), ..row };
        rows.into_iter()
            .map(|row| StoredEntry { row: at_most(row), since: token.position })
            .collect()
    }

    /// These rows, read from the table since the look, stand in the generation of the look now.
    pub fn published(&mut self, keys: &[Key]) {
        self.unseen.retain(|key| !keys.contains(key));
    }

    /// Whether the look saw the whole outbox, of which it takes `batch` rows at most, and each of
    /// them has come by.
    pub fn are_shown(&self, batch: usize) -> bool {
        self.unseen.is_empty() && self.seen.outbox.len() < batch
    }

    /// The ids of rows that need not be kept. Should another generation have begun since the look,
    /// they had been committed before: whatever is read by those who follow that one has them.
    pub fn shown(&self) -> Vec<i64> {
        self.seen
            .outbox
            .iter()
            .filter(|(_, id, date, _)| !self.unseen.contains(&(*id, *date)))
            .map(|(id, ..)| *id)
            .collect()
    }
}

impl Drain {
    /// Publishes what nobody else has, and forgets all that has come by. True where nothing visible
    /// in this look is left.
    pub(super) async fn show_leftovers(
        &self,
        token: &FillToken,
        seen: &DrainSnapshot,
    ) -> store::Result<bool> {
        if seen.outbox.is_empty() && seen.changed_facilities.is_empty() {
            return Ok(true);
        }
        let told = self.tell_facilities(seen).await?;
        let mut left = OutboxRelay::of(seen, |key, version| {
            self.changes.have_shown(seen.generation, key, version)
        });
        for keys in left.unseen().chunks(Message::ROWS) {
            if self.publish(token, &left, keys).await? {
                left.published(keys);
            }
        }
        let read: Vec<i64> = if told {
            seen.changed_facilities.iter().map(|(id, _)| *id).collect()
        } else {
            Vec::new()
        };
        let is_all =
            left.are_shown(self.batch) && told && seen.changed_facilities.len() < self.batch;
        let forgotten =
            self.may_forget(seen) && self.store.forget_published(&left.shown(), &read).await?;
        if !left.unseen.is_empty() && seen.outbox.len() == self.batch {
            self.store.compact_outbox().await?;
        }
        Ok(is_all && forgotten)
    }

    /// A server without a stream must not take from those that have one what they are yet to hear.
    fn may_forget(&self, seen: &DrainSnapshot) -> bool {
        self.changes.are_between_replicas() || seen.servers <= 1 || seen.generation == 0
    }

    async fn publish(
        &self,
        token: &FillToken,
        left: &OutboxRelay<'_>,
        keys: &[Key],
    ) -> store::Result<bool> {
        self.meet(keys).await?;
        let read = self.store.summaries(keys).await?;
        if read.epoch != left.seen.epoch {
            // Of another history than the look: to those who still follow this one it says nothing.
            return Ok(false);
        }
        let (unreadable, rows): (Vec<SummaryRow>, Vec<SummaryRow>) =
            read.rows.into_iter().partition(|row| row.as_of_ms == NEVER_MS);
        if !unreadable.is_empty() {
            self.mend(&unreadable).await?;
        }
        // Those that were mended follow with the outbox rows that this has left.
        Ok(self
            .append(left.seen.generation, &Message::Summaries(left.entries(token, rows)))
            .await?
            && unreadable.is_empty())
    }

    /// Derives days anew whose rows cannot be read: they must not keep everything else from being
    /// proven.
    async fn mend(&self, unreadable: &[SummaryRow]) -> store::Result<()> {
        let keys = unreadable.iter().filter_map(|row| {
            let facility = self.directory.get(row.summary.facility_id)?;
            let day = Day::named(&facility.zone.tz, row.summary.date)?;
            Some(DayKey { facility, day })
        });
        self.refresher.run_each(keys.collect(), Trigger::Schedule).await.1
    }

    /// Facilities that a command registered beside this process: each opened its first day with its
    /// registration.
    async fn meet(&self, keys: &[Key]) -> store::Result<()> {
        let unknown: BTreeSet<Uuid> =
            keys.iter().map(|(id, _)| *id).filter(|id| self.directory.get(*id).is_none()).collect();
        if !unknown.is_empty() {
            self.directory.reload(&*self.store, &unknown.into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Registrations, changes and removals of facilities: each replica reads them again.
    async fn tell_facilities(&self, seen: &DrainSnapshot) -> store::Result<bool> {
        let ids: BTreeSet<Uuid> = seen.changed_facilities.iter().map(|(_, id)| *id).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(true);
        }
        self.directory.reload(&*self.store, &ids).await?;
        self.append(seen.generation, &Message::Facilities(ids)).await
    }
}
