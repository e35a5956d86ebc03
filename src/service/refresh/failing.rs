//! A day that cannot be counted, as an expression of the mapping fails on one of its rows: its
//! figures stay as they were, with the instant as of which they were right.

use std::{collections::HashSet, sync::Arc};

use super::{ONE_OF_MANY_WAITS_PART, Refreshed, Refresher};
use crate::{
    domain::{
        facility::Facility,
        summary::{Bounds, DayKey, Summary, SummaryRow},
    },
    store::{self, FailingDay, StoreError, TableRead},
};

impl Refresher {
    /// Keeps the figures of this day as they were: as of the last proof that counted for them. The
    /// row is written in a new version, so that it replaces the one in every tier.
    pub async fn keep_still(&self, key: &DayKey, error: &StoreError) -> store::Result<()> {
        let id = key.facility.id;
        let words = self.store.failing_words(key, error).await;
        let token = self.changes.fill_token();
        let mut tx = self.store.begin(self.lock_timeout / ONE_OF_MANY_WAITS_PART).await?;
        let mut states = tx.lock(&[id]).await?;
        let now_ms = self.clock.now_ms();
        if key.day.start_ms > now_ms {
            return Ok(());
        }
        // Outside of the transaction, but under its lock: nobody writes the row now.
        let read = self.store.summaries(&[key.id()]).await?;
        if read.zones.get(&id).is_none_or(|zone| *zone != key.facility.zone.name) {
            return Err(StoreError::Conflict);
        }
        let is_past = key.day.end_ms <= now_ms;
        let mut refreshed = Vec::new();
        if let Some(mut row) = still(key, read, is_past) {
            let state = states.entry(id).or_default();
            let known = self.changes.known_version(&key.id());
            state.version = state.version.max(row.summary.version).max(known) + 1;
            row.summary.version = state.version;
            tx.write(std::slice::from_ref(&row), &HashSet::new()).await?;
            if !is_past && state.today != Some(key.day.date) {
                tx.open_days(&[key.id()]).await?;
            }
            tracing::warn!(
                facility_id = %id,
                key = key.facility.key.as_deref(),
                date = %key.day.date,
                words,
                "the rows of a day cannot be counted: its figures stay as they are, and grow old"
            );
            refreshed.push(Refreshed { row, changed: true, written: true, elsewhere: false });
        }
        let date = Some(key.day.date);
        tx.note_failing(&[FailingDay { facility_id: id, date, words }]).await?;
        tx.commit().await?;
        self.publish(&token, &refreshed);
        Ok(())
    }

    /// After a refresh of these days for readers has failed: where the rows of the only one cannot
    /// be counted, its figures stay as they are from now on.
    pub(super) async fn note_failing(&self, keys: &[DayKey], error: &StoreError) {
        if let ([key], true) = (keys, self.store.is_of_rows(error))
            && let Err(error) = self.keep_still(key, error).await
        {
            self.log_waiting(key.facility.id, &error);
        }
    }

    /// Notes that it cannot be told which days the facility has: those without a row are not taken
    /// for empty any more.
    pub async fn keep_all_still(
        &self,
        facility: &Arc<Facility>,
        error: &StoreError,
    ) -> store::Result<()> {
        let words = format!("the times of its rows: {error}");
        let mut tx = self.store.begin(self.lock_timeout / ONE_OF_MANY_WAITS_PART).await?;
        tx.lock(&[facility.id]).await?;
        tx.note_failing(&[FailingDay { facility_id: facility.id, date: None, words }]).await?;
        // It makes every replica drop the days without a row.
        tx.note_facilities(&[facility.id]).await?;
        tx.commit().await
    }
}

/// The row as it stays; `None` where it does so already.
fn still(key: &DayKey, read: TableRead, is_past: bool) -> Option<SummaryRow> {
    let (id, start_ms) = (key.facility.id, key.day.start_ms);
    let proven_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
    match read.rows.into_iter().next() {
        Some(row) if row.is_of(&key.day) && row.is_still() => None,
        Some(row) if row.is_of(&key.day) => {
            let until_ms = row.next_expires_at_ms.map_or(i64::MAX, |at_ms| at_ms - 1);
            let as_of_ms = row.as_of_ms.max(proven_ms).min(until_ms);
            Some(row.kept_still(as_of_ms))
        }
        // Of no proof at all, or none yet: as the day began. The stock of a day that is over is
        // recorded, and stays.
        stored => {
            let version = stored.as_ref().map_or(0, |row| row.summary.version);
            let kept = stored.map(|row| row.summary).filter(|_| is_past);
            let summary = kept.unwrap_or_else(|| Summary {
                updated_at: Some(start_ms),
                version,
                ..Summary::empty(id, key.day.date, true)
            });
            let bounds = Some(Bounds::from(&key.day));
            let row = SummaryRow { summary, as_of_ms: 0, next_expires_at_ms: None, bounds };
            Some(row.kept_still(start_ms))
        }
    }
}
