//! Finds the days that need a refresh, and refreshes them: the days that the marks of other
//! programs' triggers are about, and the days with expired units.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use rand::seq::SliceRandom;
use uuid::Uuid;

use super::Drain;
use crate::{
    domain::{day::Day, summary::DayKey},
    metrics::RefreshTrigger,
    service::refresh::request::RefreshRequest,
    store,
    store::{Mark, MarkKind, StoreError},
};

/// Marks are merged when this many are visible and some of them have to wait. Otherwise their
/// number would grow without limit while a lock is held for hours.
const MERGE_ABOVE: usize = 1_000;

/// How many facilities may make one pass wait for a lock. After that many, most likely a whole
/// table is locked.
const GIVE_UP_AFTER: usize = 3;

/// When many facilities are removed, each waits only for this part of the usual lock wait: many of
/// them may be locked.
const REMOVAL_WAITS_PART: u32 = 10;

/// A facility, and the marks that name it.
pub(super) type Marked<'m> = (Uuid, Vec<&'m Mark>);

/// The outcome for a facility that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    /// Its rows are removed.
    Yes,
    /// It was registered again. Its marks are still there, and say what is to be refreshed.
    IsBack,
}

impl Drain {
    /// Processes the marks that exist, for a command that has left many. It announces nothing and
    /// does not count as a server. When another transaction holds the lock of a facility, the marks
    /// of that facility stay for a server. After each batch, `watch` gets the number of marks in
    /// it.
    pub async fn work_off(&self, watch: impl Fn(usize) + Send) -> store::Result<()> {
        loop {
            let marks = self.store.marks(self.batch).await?;
            if self.follow_banks(&marks.strays).await? {
                continue;
            }
            let done = self.process(&marks.all).await?;
            if !done || marks.all.len() < self.batch {
                return Ok(());
            }
            watch(marks.all.len());
        }
    }

    /// Refreshes what the marks name, and deletes them in the same transactions. Returns false when
    /// some are left, because another transaction holds a lock or because the server stops.
    pub(super) async fn process(&self, marks: &[Mark]) -> store::Result<bool> {
        let orphans_removed = self.follow_registrations(marks).await?;
        let mut by_facility: BTreeMap<Uuid, Vec<&Mark>> = BTreeMap::new();
        let mut of_all: Vec<&Mark> = Vec::new();
        for mark in marks {
            match mark.facility_id {
                Some(id) => by_facility.entry(id).or_default().push(mark),
                None => of_all.push(mark),
            }
        }
        let (mut known, gone): (Vec<_>, Vec<_>) =
            by_facility.into_iter().partition(|(id, _)| self.directory.get(*id).is_some());
        // These are counted separately: removed facilities that are locked must not use up the
        // tries of the others.
        let (back, all_removed) = self.remove_all(gone).await?;
        known.extend(back);
        let mut left = 0;
        // The order is random: when some facilities wait for a lock, the others must be refreshed
        // as well.
        known.shuffle(&mut rand::rng());
        for chunk in known.chunks(self.chunk) {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            if let Err(error) = self.refresh(chunk).await {
                if error.is_of_the_whole_database() {
                    return Err(error);
                }
                // Another transaction holds a lock that one of these facilities needs. Each is
                // tried alone, so that the others are refreshed.
                for alone in chunk.chunks(1) {
                    if let Err(error) = self.refresh_alone(&alone[0]).await {
                        self.failing.record_error(&error);
                        self.refresher.log_waiting(alone[0].0, &error);
                        left += 1;
                    }
                    if left >= GIVE_UP_AFTER {
                        break;
                    }
                }
            }
            if left >= GIVE_UP_AFTER {
                break;
            }
        }
        if !orphans_removed {
            // No other mark names the orphans that are locked, so the marks of facilities stay. A
            // facility that was registered again has marks of its own.
            of_all.retain(|mark| mark.kind != MarkKind::Facility);
        }
        if !of_all.is_empty() {
            left += usize::from(!self.refresh_everything(&of_all).await?);
        }
        let all_done = left == 0 && all_removed && orphans_removed;
        if !all_done && marks.len() > MERGE_ABOVE {
            self.merge(marks).await?;
        }
        Ok(all_done)
    }

    /// Removes the rows of facilities that are gone. Returns those that were registered again, and
    /// whether all the others were removed.
    async fn remove_all<'m>(
        &self,
        mut gone: Vec<Marked<'m>>,
    ) -> store::Result<(Vec<Marked<'m>>, bool)> {
        let (mut back, mut left) = (Vec::new(), 0);
        gone.shuffle(&mut rand::rng());
        for (id, marks) in gone {
            if self.stop.is_cancelled() || left >= GIVE_UP_AFTER {
                return Ok((back, false));
            }
            match self.remove(id, &marks).await {
                Ok(Removed::Yes) => {}
                Ok(Removed::IsBack) => back.push((id, marks)),
                Err(error) if error.is_of_the_whole_database() => return Err(error),
                Err(error) => {
                    self.failing.record_error(&error);
                    self.refresher.log_waiting(id, &error);
                    left += 1;
                }
            }
        }
        Ok((back, left == 0))
    }

    /// Reads the facilities that other programs registered, renamed, moved or removed. Returns
    /// false when some that are gone could not be removed yet.
    async fn follow_registrations(&self, marks: &[Mark]) -> store::Result<bool> {
        let changed: Vec<&Mark> = marks.iter().filter(|m| m.kind == MarkKind::Facility).collect();
        if changed.iter().any(|m| m.facility_id.is_none()) {
            self.directory.load(&*self.store).await?;
            return self.remove_orphans().await;
        }
        let mut ids: Vec<Uuid> = changed.iter().filter_map(|m| m.facility_id).collect();
        // A mark may name a facility that this process does not know yet.
        ids.extend(
            marks
                .iter()
                .filter_map(|m| m.facility_id)
                .filter(|id| self.directory.get(*id).is_none()),
        );
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            self.directory.reload(&*self.store, &ids).await?;
        }
        Ok(true)
    }

    /// Removes the rows of removed facilities that no mark names. After a TRUNCATE, that may be all
    /// facilities.
    async fn remove_orphans(&self) -> store::Result<bool> {
        let (mut all, mut left) = (Ok(()), 0);
        let mut orphans = self.store.orphans().await?;
        orphans.shuffle(&mut rand::rng());
        for id in orphans {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            match self.remove(id, &[]).await {
                Err(error) if error.is_of_the_whole_database() => return Err(error),
                Err(error) => (all, left) = (Err(error), left + 1),
                Ok(_) => {}
            }
            if left >= GIVE_UP_AFTER {
                break;
            }
        }
        Ok(!self.is_left("rows of removed facilities", all))
    }

    /// Removes the rows of a facility that is gone, with its marks. It takes the facility's lock
    /// first, so that no running refresh writes the rows again. Then it looks for the facility once
    /// more: when it was registered again in the meantime, the rows are those of its new life and
    /// stay.
    async fn remove(&self, id: Uuid, marks: &[&Mark]) -> store::Result<Removed> {
        let token = self.changes.fill_token();
        let mut tx = self.store.begin(self.refresher.lock_timeout / REMOVAL_WAITS_PART).await?;
        let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        if taken.iter().any(|mark| mark.facility_id != Some(id)) {
            // After a restore, another mark may have this number.
            return Err(StoreError::Conflict);
        }
        tx.lock(&[id]).await?;
        if !tx.facilities(&[id]).await?.is_empty() {
            drop(tx);
            self.directory.reload(&*self.store, &[id]).await?;
            return Ok(Removed::IsBack);
        }
        tx.remove_summaries(&[id]).await?;
        tx.note_facilities(&[id]).await?;
        tx.commit().await?;
        self.directory.reload(&*self.store, &[id]).await?;
        // The publication does not wait for the outbox relay: this pass may wait for a lock before
        // it reads the outbox again, and meanwhile other replicas would list a facility without
        // rows.
        self.changes.publish_facilities(&token, vec![id]);
        Ok(Removed::Yes)
    }

    pub(super) async fn refresh(&self, marks: &[Marked<'_>]) -> store::Result<()> {
        let taken: Vec<Mark> =
            marks.iter().flat_map(|(_, marks)| marks.iter().map(|m| (*m).clone())).collect();
        let request = RefreshRequest::marks(&taken, RefreshTrigger::Event);
        match marks.len() {
            1 => self.refresher.run(request.one_of_many()).await.map(drop),
            _ => self.refresher.run(request).await.map(drop),
        }
    }

    /// Refreshes the days of all facilities, after a TRUNCATE. The marks are deleted last, because
    /// the snapshot of each refresh must be later than the marks. Returns false when some are left.
    async fn refresh_everything(&self, marks: &[&Mark]) -> store::Result<bool> {
        let only_today = marks.iter().all(|m| m.kind == MarkKind::Stock);
        let facilities = self.directory.by_name();
        let mut all = Ok(());
        for chunk in facilities.chunks(self.chunk) {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let now_ms = self.clock.now_ms();
            let keys: Vec<DayKey> = if only_today {
                chunk
                    .iter()
                    .map(|f| DayKey { facility: f.clone(), day: f.zone.today(now_ms) })
                    .collect()
            } else {
                self.days_of(chunk).await?
            };
            for keys in keys.chunks(self.chunk) {
                all = all.and(
                    self.refresher.run_each(keys.to_vec(), RefreshTrigger::Event).await.result,
                );
            }
        }
        if self.is_left("marks of all facilities", all) {
            return Ok(false);
        }
        let mut tx = self.store.begin(self.refresher.lock_timeout).await?;
        let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        if taken.iter().any(|mark| !marks.contains(&mark)) {
            // After a restore, another mark may have this number; the next pass finds it.
            return Ok(false);
        }
        if marks.iter().any(|mark| mark.kind == MarkKind::Facility) {
            // This server knows the facilities; the notes make the other replicas read them again.
            tx.note_facilities(&facilities.iter().map(|facility| facility.id).collect::<Vec<_>>())
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Refreshes the figures that contain units that have expired by `at_ms` (milliseconds by the
    /// database's clock). Returns whether none of them is left, and how many there were (at most a
    /// batch).
    pub(super) async fn expire(&self, at_ms: i64) -> store::Result<(bool, usize)> {
        let due = self.store.expiring(at_ms, self.batch).await?;
        let keys: Vec<DayKey> = due
            .iter()
            .filter_map(|key| {
                let facility = self.directory.get(key.facility_id)?;
                let day = Day::named(&facility.zone.tz, key.date)?;
                Some(DayKey { facility, day })
            })
            .collect();
        let mut all = Ok(());
        for chunk in keys.chunks(self.chunk) {
            if self.stop.is_cancelled() {
                return Ok((false, due.len()));
            }
            let each = self.refresher.run_each(chunk.to_vec(), RefreshTrigger::Schedule).await;
            all = each.result.and(all);
        }
        Ok((!self.is_left("expired figures", all), due.len()))
    }

    /// Whether some work is left for later. Logs when that begins and when it ends.
    fn is_left(&self, what: &'static str, done: store::Result<()>) -> bool {
        if let Err(error) = &done {
            self.failing.record_error(error);
        }
        match done {
            Ok(()) if self.throttle.end(&what) => tracing::info!(what, "nothing waits any longer"),
            Ok(()) => {}
            Err(ref error) if self.throttle.begins(what, error) => {
                tracing::warn!(what, %error, "some wait for a later pass")
            }
            Err(ref error) => tracing::debug!(what, %error, "some still wait"),
        }
        done.is_err()
    }

    /// Replaces marks with fewer that mean the same: one for each facility, blood bank, kind and
    /// UTC day.
    async fn merge(&self, marks: &[Mark]) -> store::Result<()> {
        const UTC_DAY_MS: i64 = 86_400_000;
        let mut tx = self.store.begin(Duration::from_secs(1)).await?;
        let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        let mut merged: HashMap<_, Mark> = HashMap::new();
        for mark in taken {
            let key = (
                mark.facility_id,
                mark.blood_bank_id,
                mark.kind,
                mark.span.map(|(first, _)| first.div_euclid(UTC_DAY_MS)),
            );
            merged
                .entry(key)
                .and_modify(|m| {
                    m.span = m.span.zip(mark.span).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)))
                })
                .or_insert(mark);
        }
        tx.add_marks(&merged.into_values().collect::<Vec<_>>()).await?;
        tx.commit().await
    }
}
