//! Days that cannot be counted, as an expression of the mapping fails on one of their rows. Their
//! marks are processed, and nothing waits for them: their figures stay as they are, and no
//! watermark counts for them. Now and then they are tried again.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Drain, marks::Marked};
use crate::{
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Key},
    },
    metrics::RefreshTrigger,
    service::refresh::{days::all_days_that_can_be_told, scope::RefreshScope},
    store::{self, FailingDay, MarkKind, StoreError},
};

/// How often they are tried again. A write to a row of theirs has them tried at once.
const BETWEEN_TRIES: Duration = Duration::from_secs(5);

/// How many are tried together. When all of them can be counted again, more are tried at once.
const TRIED: usize = 32;

/// When they were tried last.
#[derive(Default)]
pub struct Tries(std::sync::Mutex<Option<Instant>>);

impl Tries {
    /// Whether it is time, and it is taken note of.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_due = last.is_none_or(|at| at.elapsed() >= BETWEEN_TRIES);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

impl Drain {
    /// Refreshes what the marks of one facility name. Where an expression fails on a row, each day
    /// is tried by itself, and those on which it does stay as they are.
    pub(super) async fn refresh_alone(&self, of_one: &Marked<'_>) -> store::Result<()> {
        match self.refresh(std::slice::from_ref(of_one)).await {
            Err(error) if self.store.is_of_rows(&error) => self.refresh_days(of_one).await,
            done => done,
        }
    }

    async fn refresh_days(&self, (id, marks): &Marked<'_>) -> store::Result<()> {
        let of_marks = marks.iter().copied();
        let scope = RefreshScope::of_marks(of_marks, &self.directory, self.clock.now_ms());
        let mut scope = scope.ok_or(StoreError::Conflict)?;
        let whole = std::mem::take(&mut scope.whole);
        let mut keys = scope.resolve(&*self.store).await?;
        if let Some(facility) = whole.first() {
            let days = self.days_of(std::slice::from_ref(facility)).await?;
            let seen: HashSet<Key> = days.iter().map(DayKey::id).collect();
            keys.retain(|key| !seen.contains(&key.id()));
            keys.extend(days);
        }
        for keys in keys.chunks(self.chunk) {
            self.refresher.run_each(keys.to_vec(), RefreshTrigger::Event).await.result?;
        }
        // Deleted last, as the snapshot of each refresh has to be later than the marks.
        let mut tx = self.store.begin(self.refresher.lock_timeout).await?;
        let taken = tx.take_marks(&marks.iter().map(|mark| mark.id).collect::<Vec<_>>()).await?;
        if taken.iter().any(|mark| !marks.contains(&mark)) {
            return Err(StoreError::Conflict);
        }
        if taken.iter().any(|mark| mark.kind == MarkKind::Facility) {
            tx.note_facilities(&[*id]).await?;
        }
        tx.commit().await
    }

    /// The days of these facilities. Where it cannot be told which ones have data, that is noted.
    pub(super) async fn days_of(&self, facilities: &[Arc<Facility>]) -> store::Result<Vec<DayKey>> {
        let found = all_days_that_can_be_told(&*self.store, facilities).await?;
        for (facility, error) in &found.unknown {
            self.refresher.keep_all_still(facility, error).await?;
        }
        Ok(found.keys)
    }

    /// Tries the days again that could not be counted.
    pub(super) async fn try_failing(&self) -> store::Result<()> {
        let mut limit = TRIED;
        while self.store.failing().days > 0 && (limit > TRIED || self.tries.is_due()) {
            let days = self.store.failing_to_try(limit).await?;
            let (of_days, of_all): (Vec<_>, Vec<_>) =
                days.iter().partition(|day| day.date.is_some());
            let mut keys: Vec<DayKey> =
                of_days.into_iter().filter_map(|day| self.day_key(day)).collect();
            let mut still: HashSet<(uuid::Uuid, Option<jiff::civil::Date>)> = HashSet::new();
            for day in of_all {
                let Some(facility) = self.directory.get(day.facility_id) else { continue };
                let found =
                    all_days_that_can_be_told(&*self.store, std::slice::from_ref(&facility))
                        .await?;
                for (facility, error) in &found.unknown {
                    self.refresher.keep_all_still(facility, error).await?;
                    still.insert((facility.id, None));
                }
                keys.extend(found.keys);
            }
            for keys in keys.chunks(self.chunk) {
                let each = self.refresher.run_each(keys.to_vec(), RefreshTrigger::Schedule).await;
                each.result?;
                still.extend(
                    each.failing.iter().map(|(key, _)| (key.facility.id, Some(key.day.date))),
                );
            }
            let over: Vec<FailingDay> = days
                .iter()
                .filter(|day| !still.contains(&(day.facility_id, day.date)))
                .cloned()
                .collect();
            self.store.forget_failing(&over).await?;
            if over.len() < days.len() || days.len() < limit || self.stop.is_cancelled() {
                break;
            }
            limit *= 2;
        }
        Ok(())
    }

    /// The day as its facility has it now; `None` where there is none.
    fn day_key(&self, day: &FailingDay) -> Option<DayKey> {
        let facility = self.directory.get(day.facility_id)?;
        let day = Day::named(&facility.zone.tz, day.date?)?;
        Some(DayKey { facility, day })
    }
}
