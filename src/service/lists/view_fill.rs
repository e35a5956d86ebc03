//! Fills a view from the table: what memory does not hold is read once for all readers, in few
//! statements, and goes into memory like any row.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use uuid::Uuid;

use super::{ListRequest, Lists, READ_CHUNK, Source};
use crate::{
    cache::{
        memory::FillToken,
        views::{Placed, View},
    },
    domain::{
        day::Day,
        facility::{Facility, Zone},
        summary::{DayKey, Key, Summary, SummaryRow},
    },
    metrics::RefreshTrigger,
    service::tier_row::{TierRow, is_good_for},
    store::{self, StoreError, TableRead},
};

/// Statements of one fill that are under way at once: while one is carried out, what the one before
/// has brought is put into memory.
const READS_AT_ONCE: usize = 2;

/// The result of a fill.
pub(super) enum Filled {
    /// Nothing was to be read.
    Nothing,
    /// The lowest tier that was asked.
    From(Source),
    /// The table has facilities or zones that the directory did not know. The directory has been
    /// read again.
    DirectoryWasBehind,
    /// The database answered from another epoch than the one that is served.
    OtherEpoch,
}

/// The days that these facilities have in the view of a date, or of today, and the first midnight
/// at any of them.
pub fn days_of(
    facilities: impl Iterator<Item = (Uuid, Option<Arc<Facility>>)>,
    date: Option<Date>,
    now_ms: i64,
) -> (Vec<Placed>, i64) {
    // Each zone is kept while its address is the key: another one might get the address.
    let mut days: HashMap<*const Zone, (Arc<Zone>, Option<Day>, i64)> = HashMap::new();
    let mut until_ms = i64::MAX;
    let mut place = |(id, facility): (Uuid, Option<Arc<Facility>>)| {
        let Some(facility) = facility else { return (id, None) };
        let zone = &facility.zone;
        let (_, day, end_ms) = days.entry(Arc::as_ptr(zone)).or_insert_with(|| {
            let today = zone.today(now_ms);
            let (day, end_ms) = match date {
                None => (Some(today), today.end_ms),
                Some(date) if date == today.date => (Some(today), today.end_ms),
                Some(date) if date > today.date => (None, today.end_ms),
                // No later midnight changes a day that is over.
                Some(date) => (Day::named(&zone.tz, date), i64::MAX),
            };
            (zone.clone(), day, end_ms)
        });
        let day = *day;
        until_ms = until_ms.min(*end_ms);
        (id, day.map(|day| (facility, day)))
    };
    let places = facilities.map(&mut place).collect();
    (places, until_ms)
}

/// What a statement says about the days that it was asked for.
pub struct Judged {
    /// The rows of days that the table has, and of past days that are known to have none.
    pub found: Vec<TierRow>,
    /// Days to refresh: a today that has no row yet, days for which the table has the row of
    /// another zone or of an instant that has not been, and past days whose facility has changed.
    pub due: Vec<DayKey>,
    /// Facilities that are gone, or in another zone than the directory has.
    pub unknown: Vec<Uuid>,
}

impl Judged {
    /// Has the days refreshed of which the row is not exact as of `least_ms`.
    fn refresh_older(&mut self, keys: &[DayKey], least_ms: i64) {
        let older: HashSet<Key> = self
            .found
            .extract_if(.., |found| found.as_of_ms < least_ms)
            .map(|found| found.row.key())
            .collect();
        self.due.extend(keys.iter().filter(|key| older.contains(&key.id())).cloned());
    }
}

/// Judges what one statement read of these days. The caller took `token` and then `table_ms` before
/// the read.
pub fn judge(
    keys: &[DayKey],
    read: TableRead,
    token: &FillToken,
    table_ms: i64,
    now_ms: i64,
) -> Judged {
    let proven_ms = table_ms.max(read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms));
    let mut rows: HashMap<_, SummaryRow> =
        read.rows.into_iter().map(|row| (row.key(), row)).collect();
    let mut judged = Judged { found: Vec::new(), due: Vec::new(), unknown: Vec::new() };
    for key in keys {
        let id = key.facility.id;
        let is_past = key.day.end_ms <= now_ms;
        match rows.remove(&key.id()) {
            _ if read.zones.get(&id) != Some(&key.facility.zone.name) => judged.unknown.push(id),
            Some(row) if is_good_for(&row, &key.day, now_ms) => {
                let as_of_ms = row.as_of_ms.min(now_ms).max(proven_ms);
                judged.found.push(TierRow { row, as_of_ms, since: token.position });
            }
            None if is_past && proven_ms != i64::MIN && !read.changing.contains(&id) => {
                let row = SummaryRow {
                    summary: Summary::empty(id, key.day.date, true),
                    as_of_ms: proven_ms,
                    next_expires_at_ms: None,
                    bounds: Some((&key.day).into()),
                };
                judged.found.push(TierRow { row, as_of_ms: proven_ms, since: token.position });
            }
            _ => judged.due.push(key.clone()),
        }
    }
    judged
}

impl Lists {
    /// Reads what the view lacks, or what this reader takes no more as it is. One caller at a time
    /// reads, and the others find it there. `used_ms` is the last fill that this reader has used:
    /// what that lacks for it, it reads itself.
    pub(super) async fn fill(
        &self,
        view: &View,
        asked: &ListRequest,
        used_ms: &mut i64,
    ) -> Result<Filled, Arc<StoreError>> {
        let mut has_refreshed = view.filling.lock().await;
        let source = |has_refreshed| match has_refreshed {
            true => Source::Refreshed,
            false => Source::Table,
        };
        let filled_ms = view.filled_since_ms();
        if filled_ms > asked.arrived_ms.max(*used_ms) {
            *used_ms = filled_ms;
            return Ok(Filled::From(source(*has_refreshed)));
        }
        let began_ms = self.reads.clock.now_ms();
        let keys = self.wanted(view, asked, began_ms);
        if keys.is_empty() {
            return Ok(Filled::Nothing);
        }
        self.reads.metrics.view_fills.inc();
        let (mut due, mut unknown) = (Vec::new(), Vec::new());
        let least_ms = if self.are_unwatched() { asked.least_ms(began_ms) } else { i64::MIN };
        let reads: Vec<_> =
            keys.chunks(READ_CHUNK).map(|chunk| self.read_chunk(chunk, least_ms).boxed()).collect();
        let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
        while let Some(judged) = reads.try_next().await? {
            let Some(judged) = judged else { return Ok(Filled::OtherEpoch) };
            due.extend(judged.due);
            unknown.extend(judged.unknown);
        }
        let refreshes = !due.is_empty();
        if refreshes && self.reads.store.is_superseded() {
            return Err(StoreError::Superseded.into());
        }
        if unknown.is_empty() {
            unknown = self.refresh(due, asked).await?;
        }
        if !unknown.is_empty() {
            return match self.reads.directory.reload(&*self.reads.store, &unknown).await {
                Ok(_) => Ok(Filled::DirectoryWasBehind),
                Err(StoreError::OtherEpoch) => Ok(Filled::OtherEpoch),
                Err(error) => Err(error.into()),
            };
        }
        *used_ms = began_ms;
        view.note_fill(began_ms);
        *has_refreshed = refreshes;
        Ok(Filled::From(source(refreshes)))
    }

    /// The days to read for this reader.
    fn wanted(&self, view: &View, asked: &ListRequest, began_ms: i64) -> Vec<DayKey> {
        let memory = &self.reads.memory;
        if self.reads.changes.is_attached() && !memory.is_view_attached(view) {
            return memory.unattached_keys(view);
        }
        let directory_ms = self.reads.directory.exact_as_of_ms();
        let young_ms = began_ms.saturating_sub(self.unproven_ms(&asked.requested));
        memory.unproven_keys(view, asked.least_ms(began_ms).max(young_ms), directory_ms)
    }

    /// Reads these days in one statement, and puts what it finds into memory, which shows it to the
    /// view. A row that is not exact as of `least_ms` is due. `None` where the
    /// database answered from another epoch.
    async fn read_chunk(&self, keys: &[DayKey], least_ms: i64) -> store::Result<Option<Judged>> {
        let reads = &self.reads;
        let (token, table_ms) = (reads.memory.fill_token(), reads.memory.table_ms());
        let ids: Vec<_> = keys.iter().map(DayKey::id).collect();
        let known: HashMap<_, i64> =
            ids.iter().map(|id| (*id, reads.memory.known_version(id))).collect();
        reads.metrics.count_table_read("primary", ids.len());
        let read = reads.store.summaries(&ids).await?;
        reads.outage.over();
        if !reads.changes.continue_in(&read, table_ms) {
            return Ok(None);
        }
        if read.has_older(|key| known.get(key).copied().unwrap_or_default()) {
            reads.changes.suspect_restore();
            return Ok(None);
        }
        let mut judged = judge(keys, read, &token, table_ms, reads.clock.now_ms());
        // A row that lost a race is read again: the view still lacks it.
        let keep = |judged: &Judged| {
            judged.found.iter().for_each(|found| drop(found.keep(&reads.memory, &token)));
        };
        if self.serves_the_last() {
            // Nothing newer can be had here, so these may be served as the last ones.
            keep(&judged);
        }
        judged.refresh_older(keys, least_ms);
        keep(&judged);
        Ok(Some(judged))
    }

    /// Refreshes these days: one refresh of each, whichever view, reader or replica asks for it. It
    /// shows the view what it brings. Answers the facilities that have no such day: they are gone,
    /// or in another zone.
    async fn refresh(
        &self,
        keys: Vec<DayKey>,
        asked: &ListRequest,
    ) -> Result<Vec<Uuid>, Arc<StoreError>> {
        let (coalescer, requested) = (&self.reads.coalescer, &asked.requested);
        let now_ms = self.reads.clock.now_ms();
        let min_freshness = (requested.max_age_ms > 0).then(|| requested.min_freshness(now_ms));
        let join =
            |key: DayKey| (key.clone(), coalescer.join(key, min_freshness, RefreshTrigger::Read));
        let waiters: Vec<_> = keys.into_iter().map(join).collect();
        let (mut gone, mut result) = (Vec::new(), Ok(()));
        for (key, waiter) in waiters {
            match waiter.result().await {
                Ok(Some(refreshed)) if refreshed.row.is_of(&key.day) => {}
                Ok(_) => gone.push(key.facility.id),
                // The list shows no figures of that day.
                Err(error) if self.reads.store.is_of_rows(&error) => {}
                Err(error) => result = Err(error),
            }
        }
        result.map(|()| gone)
    }
}

#[cfg(test)]
#[path = "view_fill_tests.rs"]
mod tests;
