//! The drain: marks that other writers' triggers left, and figures whose units expired, become refreshes. Once all that was visible at
//! an instant has been dealt with, that instant is the watermark: every summary is exact as of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::civil::Date;
use rand::seq::SliceRandom;
use uuid::Uuid;

use crate::{
    cache::memory::Memory,
    clock::Clock,
    domain::{day::Day, facility::Facility, summary::DayKey},
    metrics::{Metrics, Trigger},
    service::{
        directory::Directory,
        outage::Outage,
        refresh::{DAYS_IN_A_SPAN, Refresher, all_days_with_data, days_with_data},
    },
    store::{self, Mark, MarkKind, Observation, Store, StoreError},
};

pub struct Drain {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub directory: Arc<Directory>,
    pub memory: Arc<Memory>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    /// Marks taken in one look, and facilities refreshed in one transaction.
    pub batch: usize,
    pub chunk: usize,
    /// One pass at a time, whoever asks for it.
    pub turn: tokio::sync::Mutex<Company>,
}

/// Whether this server has the database to itself. Each server's drain deletes what it has published, so that one of several cannot
/// know that it has seen every change.
#[derive(Debug, Default)]
pub struct Company {
    /// Others serve, too.
    several: bool,
    /// Changes may have passed unseen since memory was last dropped.
    missed: bool,
}

impl Company {
    fn note(&mut self, seen: &Observation) {
        let several = seen.servers > 1;
        match (self.several, several) {
            (false, true) => tracing::warn!(
                servers = seen.servers,
                "several servers use this database, and there is no change stream between them: answers are only as fresh as their last refresh"
            ),
            (true, false) => tracing::info!("this server is alone on its database again: its answers are kept fresh"),
            _ => {}
        }
        self.several = several;
        self.missed |= several || seen.arrived;
    }
}

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Everything visible was dealt with: the table is exact, and the watermark advanced if this is the only server.
    Proven,
    /// There was more to see than one look takes.
    More,
    /// Some is left, because somebody holds a lock.
    Waits,
}

/// How far the database's clock may go back (a leap second, a slewed clock) before nothing that was proven counts any more.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// Marks are merged once this many are visible and cannot be drained, so that a lock held for hours does not let them pile up.
const MERGE_ABOVE: usize = 1_000;

/// Facilities that may keep one pass waiting for a lock; after so many a whole table is locked, most likely.
const GIVE_UP_AFTER: usize = 3;

impl Drain {
    /// Passes until everything is proven, or something has to wait for a lock.
    pub async fn run(&self) -> store::Result<Pass> {
        loop {
            match self.run_once().await? {
                Pass::More => {}
                pass => return Ok(pass),
            }
        }
    }

    /// Makes this server known to the others on its database; before it serves, while memory holds nothing.
    pub async fn arrive(&self) -> store::Result<()> {
        let mut company = self.turn.lock().await;
        company.note(&self.store.observe(0).await?);
        company.missed = company.several;
        Ok(())
    }

    /// One look, and the work it finds.
    pub async fn run_once(&self) -> store::Result<Pass> {
        let mut company = self.turn.lock().await;
        let (position, sent) = (self.refresher.changes.position(), Instant::now());
        let seen = match self.store.observe(self.batch).await {
            Ok(seen) => seen,
            Err(error) => {
                self.outage.failed(&error, self.clock.now_ms());
                self.show_age();
                return Err(error);
            }
        };
        self.clock.sync(seen.at_ms, sent);
        if seen.at_ms < self.memory.table_ms().saturating_sub(CLOCK_TOLERANCE_MS) {
            tracing::warn!(
                by_seconds = (self.memory.table_ms() - seen.at_ms) / 1000,
                "the database's clock was set back; everything is proven anew"
            );
            self.memory.start_over();
        }
        self.outage.over();
        company.note(&seen);
        if company.missed {
            self.catch_up_with_registrations().await?;
        }
        self.metrics.marks_visible.set(seen.marks.len() as i64);
        self.publish_leftovers(position, &seen).await?;
        let marks_done = seen.marks.is_empty() || self.deal_with(&seen.marks).await?;
        let (expiries_done, expired) = if seen.expiry_due { self.expire(seen.at_ms).await? } else { (true, 0) };
        let all_seen = expired < self.batch && seen.marks.len() < self.batch && seen.outbox.len() < self.batch;
        let pass = match (marks_done && expiries_done, all_seen) {
            (false, _) => Pass::Waits,
            (true, false) => Pass::More,
            (true, true) => Pass::Proven,
        };
        if pass == Pass::Proven {
            self.announce(&mut company, seen.at_ms);
        }
        self.show_age();
        Ok(pass)
    }

    /// Tells what a pass has proven.
    fn announce(&self, company: &mut Company, at_ms: i64) {
        self.memory.advance_table(at_ms);
        if company.several {
            return;
        }
        if std::mem::take(&mut company.missed) {
            self.memory.forget_all();
        }
        self.memory.advance_watermark(at_ms);
    }

    /// Reads all facilities: other servers may have registered some without a trace that reached this one.
    async fn catch_up_with_registrations(&self) -> store::Result<()> {
        for id in self.directory.load(&*self.store).await? {
            self.memory.forget_facility(id);
        }
        Ok(())
    }

    fn show_age(&self) {
        let watermark_ms = self.memory.watermark_ms();
        if watermark_ms != i64::MIN {
            self.metrics.watermark_age.set((self.clock.now_ms() - watermark_ms).max(0) as f64 / 1000.0);
        }
    }

    /// Rows that were committed and that nobody here has published: a command beside this process wrote them.
    async fn publish_leftovers(&self, position: u64, seen: &Observation) -> store::Result<()> {
        if seen.outbox.is_empty() {
            return Ok(());
        }
        let unseen: Vec<(Uuid, Date)> = seen
            .outbox
            .iter()
            .filter(|(_, id, date, version)| !self.memory.has_seen(&(*id, *date), *version))
            .map(|(_, id, date, _)| (*id, *date))
            .collect();
        if !unseen.is_empty() {
            self.meet(&unseen).await?;
            let rows = self.store.summaries(&unseen).await?.rows;
            self.refresher.changes.publish(position, rows.iter());
        }
        let ids: Vec<i64> = seen.outbox.iter().map(|(id, ..)| *id).collect();
        self.store.forget_published(&ids, &[], seen.generation).await.map(drop)
    }

    /// Facilities that a command registered beside this process: each opened its first day with its registration.
    async fn meet(&self, keys: &[(Uuid, Date)]) -> store::Result<()> {
        let unknown: BTreeSet<Uuid> = keys.iter().map(|(id, _)| *id).filter(|id| self.directory.get(*id).is_none()).collect();
        if !unknown.is_empty() {
            self.directory.reload(&*self.store, &unknown.into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Refreshes what the marks point at, and deletes them with it. False where some are left, because somebody holds a lock.
    async fn deal_with(&self, marks: &[Mark]) -> store::Result<bool> {
        self.follow_registrations(marks).await?;
        let mut by_facility: BTreeMap<Uuid, Vec<&Mark>> = BTreeMap::new();
        let mut of_all: Vec<&Mark> = Vec::new();
        for mark in marks {
            match mark.facility_id {
                Some(id) => by_facility.entry(id).or_default().push(mark),
                None => of_all.push(mark),
            }
        }
        let mut left = 0;
        let (mut known, gone): (Vec<_>, Vec<_>) = by_facility.into_iter().partition(|(id, _)| self.directory.get(*id).is_some());
        for (id, marks) in &gone {
            if let Err(error) = self.remove(*id, marks).await {
                tracing::warn!(facility_id = %id, %error, "the rows of a removed facility wait");
                left += 1;
            }
        }
        // In another order each time: who waits for a lock at the front must not keep the others from their turn.
        known.shuffle(&mut rand::rng());
        for chunk in known.chunks(self.chunk) {
            if let Err(error) = self.refresh(chunk).await {
                if !matches!(error, StoreError::Locked(_) | StoreError::Conflict | StoreError::Refused(_)) {
                    return Err(error);
                }
                // Somebody holds a lock that one of these needs: each for itself, so that the others are served.
                for alone in chunk.chunks(1) {
                    if let Err(error) = self.refresh(alone).await {
                        tracing::warn!(facility_id = %alone[0].0, %error, "marks wait");
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
        if !of_all.is_empty() {
            left += usize::from(!self.refresh_everything(&of_all).await?);
        }
        if left > 0 && marks.len() > MERGE_ABOVE {
            self.merge(marks).await?;
        }
        Ok(left == 0)
    }

    /// Facilities that other programs registered, renamed, moved or removed.
    async fn follow_registrations(&self, marks: &[Mark]) -> store::Result<()> {
        let changed: Vec<&Mark> = marks.iter().filter(|m| m.kind == MarkKind::Facility).collect();
        if changed.iter().any(|m| m.facility_id.is_none()) {
            for id in self.directory.load(&*self.store).await? {
                self.remove(id, &[]).await?;
            }
            return Ok(());
        }
        let mut ids: Vec<Uuid> = changed.iter().filter_map(|m| m.facility_id).collect();
        // A mark may be about a facility that this process has never heard of.
        ids.extend(marks.iter().filter_map(|m| m.facility_id).filter(|id| self.directory.get(*id).is_none()));
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        self.directory.reload(&*self.store, &ids).await.map(drop)
    }

    /// Removes the rows of a facility that is gone, with its marks. Locked first: a refresh under way must not write them again.
    async fn remove(&self, id: Uuid, marks: &[&Mark]) -> store::Result<()> {
        let mut tx = self.store.begin(self.refresher.lock_timeout).await?;
        tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        tx.lock(&[id]).await?;
        tx.remove_summaries(&[id]).await?;
        tx.commit().await?;
        self.memory.forget_facility(id);
        Ok(())
    }

    async fn refresh(&self, marks: &[(Uuid, Vec<&Mark>)]) -> store::Result<()> {
        let now_ms = self.clock.now_ms();
        let mut keys: HashMap<(Uuid, Date), DayKey> = HashMap::new();
        for (id, marks) in marks {
            let Some(facility) = self.directory.get(*id) else { continue };
            for day in self.days(&facility, marks, now_ms).await? {
                keys.insert((*id, day.date), DayKey { facility: facility.clone(), day });
            }
        }
        let taken: Vec<Mark> = marks.iter().flat_map(|(_, marks)| marks.iter().map(|m| (*m).clone())).collect();
        let keys: Vec<DayKey> = keys.into_values().collect();
        match marks.len() {
            1 => self.refresher.refresh_alone(keys, &taken, Trigger::Event).await.map(drop),
            _ => self.refresher.refresh_taking_marks(keys, &taken, Trigger::Event).await.map(drop),
        }
    }

    /// The local days that a facility's marks point at.
    async fn days(&self, facility: &Arc<Facility>, marks: &[&Mark], now_ms: i64) -> store::Result<Vec<Day>> {
        let tz = &facility.zone.tz;
        if marks.iter().any(|m| m.kind == MarkKind::Facility || (m.kind == MarkKind::Activity && m.span.is_none())) {
            return days_with_data(&*self.store, facility).await;
        }
        let today = marks.iter().any(|m| m.kind == MarkKind::Stock).then(|| facility.zone.today(now_ms));
        Ok(marks
            .iter()
            .filter_map(|m| m.span)
            .flat_map(|(first, last)| Day::covering(tz, first, last, DAYS_IN_A_SPAN))
            .chain(today)
            .collect())
    }

    /// After a TRUNCATE: every facility's days. The marks go last; each refresh's snapshot is later than they are.
    async fn refresh_everything(&self, marks: &[&Mark]) -> store::Result<bool> {
        let only_today = marks.iter().all(|m| m.kind == MarkKind::Stock);
        let facilities = self.directory.by_name();
        let mut all = Ok(());
        for chunk in facilities.chunks(self.chunk) {
            let now_ms = self.clock.now_ms();
            let keys: Vec<DayKey> = if only_today {
                chunk.iter().map(|f| DayKey { facility: f.clone(), day: f.zone.today(now_ms) }).collect()
            } else {
                all_days_with_data(&*self.store, chunk).await?
            };
            for keys in keys.chunks(self.chunk) {
                all = all.and(self.refresher.refresh_each(keys.to_vec(), Trigger::Event).await.1);
            }
        }
        if let Err(error) = all {
            tracing::warn!(%error, "marks of all facilities wait");
            return Ok(false);
        }
        let mut tx = self.store.begin(self.refresher.lock_timeout).await?;
        tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Refreshes figures whose units have expired by `at_ms`. Whether none has to wait, and how many there were (up to a batch).
    async fn expire(&self, at_ms: i64) -> store::Result<(bool, usize)> {
        let due = self.store.expiring(at_ms, self.batch).await?;
        let keys: Vec<DayKey> = due
            .iter()
            .filter_map(|(id, date)| {
                let facility = self.directory.get(*id)?;
                let day = Day::named(&facility.zone.tz, *date)?;
                Some(DayKey { facility, day })
            })
            .collect();
        let mut done = true;
        for chunk in keys.chunks(self.chunk) {
            if let (_, Err(error)) = self.refresher.refresh_each(chunk.to_vec(), Trigger::Schedule).await {
                tracing::warn!(%error, "expired figures wait");
                done = false;
            }
        }
        Ok((done, due.len()))
    }

    /// Replaces marks by as few as say the same: one per facility, kind and UTC day.
    async fn merge(&self, marks: &[Mark]) -> store::Result<()> {
        const UTC_DAY_MS: i64 = 86_400_000;
        let mut tx = self.store.begin(Duration::from_secs(1)).await?;
        let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
        let mut merged: HashMap<(Option<Uuid>, MarkKind, Option<i64>), Mark> = HashMap::new();
        for mark in taken {
            let key = (mark.facility_id, mark.kind, mark.span.map(|(first, _)| first.div_euclid(UTC_DAY_MS)));
            merged.entry(key).and_modify(|m| m.span = m.span.zip(mark.span).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)))).or_insert(mark);
        }
        tx.add_marks(&merged.into_values().collect::<Vec<_>>()).await?;
        tx.commit().await
    }
}
