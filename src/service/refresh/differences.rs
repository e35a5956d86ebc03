//! Rows that a transaction need not derive: it knows what it has changed, and adds the difference
//! to the stored row. It may do so only where the stored row is known to equal its sources. A
//! change of another program leaves a mark in its own transaction, and the mark goes only in a
//! transaction that derives the row after it. So a row without a visible mark is right, in the
//! snapshot that shows both. In all other cases the row is derived.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Refresher;
use crate::{
    domain::{
        difference::{Contribution, Differences, Undecided},
        summary::{Bounds, DayKey, Key},
    },
    store::{self, Derived, Doubt, FacilityState, StoreError, StoredDay, StoredDays, Transaction},
};

/// What a transaction has changed in the source tables.
#[derive(Debug, Default)]
pub struct Changed {
    differences: Differences,
    /// Facilities of which more was changed than is known here.
    unknown: HashSet<Uuid>,
}

impl Changed {
    /// A row changed: what it contributed before, and what it contributes now.
    pub fn change(&mut self, before: Option<Contribution>, now: Option<Contribution>) {
        self.differences.change(before, now);
    }

    /// More of this facility was changed than a difference says: its days are derived.
    pub fn not_known(&mut self, facility: Uuid) {
        self.unknown.insert(facility);
    }
}

/// Why a day is derived although the transaction knows what it has changed. A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The facility or a blood bank of it was changed, or a client asked for a refresh.
    Asked,
    /// Another program has changed something, and its mark is not processed yet.
    Marked,
    /// Units have expired since the row was written, or expire now.
    Expiry,
    /// The row is of a later instant than now: the database's clock was set back. Units that it
    /// takes for expired may count once more.
    Ahead,
    /// There is no row of the day, or it is of another day, or the day is just beginning or over.
    Day,
    /// The figures of the row do not add up.
    Inconsistent,
    /// The row is older than a version that is known to be committed.
    Behind,
    /// Changes of others may have left no mark.
    Unwatched,
    /// A source row could be read only in part.
    Unreadable,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Reason::Asked => "asked",
            Reason::Marked => "marked",
            Reason::Expiry => "expiry",
            Reason::Ahead => "ahead",
            Reason::Day => "day",
            Reason::Inconsistent => "inconsistent",
            Reason::Behind => "behind",
            Reason::Unwatched => "unwatched",
            Reason::Unreadable => "unreadable",
        }
    }
}

impl From<Undecided> for Reason {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::ExpiresNow => Reason::Expiry,
            Undecided::Inconsistent => Reason::Inconsistent,
        }
    }
}

/// A day that ended this short a time ago is derived, together with the next one.
const JUST_ENDED_MS: i64 = 60_000;

impl Refresher {
    /// Adds the differences where that is known to give what the sources give. The facilities must
    /// be locked. Answers the days as if they had been derived, and the keys that are to be
    /// derived.
    pub(super) async fn add_differences(
        &self,
        tx: &mut dyn Transaction,
        keys: Vec<DayKey>,
        changed: &Changed,
        states: &HashMap<Uuid, FacilityState>,
    ) -> store::Result<(Vec<Derived>, Vec<DayKey>)> {
        let is_known = |key: &DayKey| !changed.unknown.contains(&key.facility.id);
        let (known, mut left): (Vec<DayKey>, Vec<DayKey>) = keys.into_iter().partition(is_known);
        self.count_days("derived", Reason::Asked.as_str(), left.len());
        if known.is_empty() {
            return Ok((Vec::new(), left));
        }
        let StoredDays { now_ms, as_of_ms, doubt, days } = tx.stored_days(&known).await?;
        let mut stored: HashMap<Key, StoredDay> =
            days.into_iter().map(|day| (day.row.key(), day)).collect();
        let mut added = Vec::with_capacity(known.len());
        for key in known {
            let day = match doubt {
                None => stored.remove(&key.id()).ok_or(Reason::Day),
                Some(Doubt::Unwatched) => Err(Reason::Unwatched),
                Some(Doubt::Unreadable) => Err(Reason::Unreadable),
            };
            let sum = day.and_then(|day| {
                let state = states.get(&key.facility.id).copied().unwrap_or_default();
                self.sum(&key, &day, changed, state, now_ms)
            });
            match sum {
                Ok(mut sum) => {
                    sum.row.as_of_ms = as_of_ms;
                    added.push(sum);
                }
                Err(reason) => {
                    self.count_days("derived", reason.as_str(), 1);
                    left.push(key);
                }
            }
        }
        self.count_days("difference", "none", added.len());
        Ok((added, left))
    }

    /// The day after the changes, as of its snapshot; `Err` where the stored row may differ from
    /// its sources.
    fn sum(
        &self,
        key: &DayKey,
        stored: &StoredDay,
        changed: &Changed,
        state: FacilityState,
        now_ms: i64,
    ) -> Result<Derived, Reason> {
        let StoredDay { row, is_marked, timezone } = stored;
        let is_today = key.day.contains(now_ms);
        let is_of_the_day = row.bounds == Some(Bounds::from(&key.day)) && row.is_of(&key.day);
        let has_ended = now_ms >= key.day.end_ms + JUST_ENDED_MS;
        // A day that is not today's by our own row is yet to be opened.
        let is_open = is_today && state.today == Some(key.day.date);
        if *is_marked {
            return Err(Reason::Marked);
        }
        if row.as_of_ms > now_ms {
            return Err(Reason::Ahead);
        }
        if !is_of_the_day || !(is_open || has_ended) {
            return Err(Reason::Day);
        }
        if self.changes.known_version(&key.id()) > row.summary.version {
            return Err(Reason::Behind);
        }
        let sum = changed.differences.add_to(row, &key.day, now_ms)?;
        let (before, after) = (&row.summary, &sum.summary);
        let figures_differ = (before.total_stock, before.total_transferred, before.total_requests)
            != (after.total_stock, after.total_transferred, after.total_requests)
            || before.by_blood_type != after.by_blood_type;
        Ok(Derived {
            stored: true,
            figures_differ,
            day_differs: false,
            write_needed: figures_differ || row.next_expires_at_ms != sum.next_expires_at_ms,
            is_today,
            timezone: timezone.clone(),
            row: sum,
        })
    }

    /// Derives beside the differences that were added to these days and written
    /// (`refresh.verify_differences`; else it does nothing). The caller has checked, and holds,
    /// whatever the differences rely on: the blood banks are where it counted their stock. Else
    /// the move of a bank would look like a wrong difference.
    /// `StoreError::WrongDifference` where a row differs from its sources, and no mark and no
    /// expiry explains that.
    pub async fn verify(&self, tx: &mut dyn Transaction, keys: &[DayKey]) -> store::Result<()> {
        if !self.verify_differences || keys.is_empty() {
            return Ok(());
        }
        let differences = tx.audit(keys).await?;
        let mut wrong =
            differences.iter().filter(|d| (d.figures_differ || d.expires_too_late) && !d.explained);
        let Some(first) = wrong.next() else { return Ok(()) };
        self.metrics.wrong_differences.inc_by(1 + wrong.count() as u64);
        tracing::error!(
            facility_id = %first.facility_id,
            date = %first.date,
            sum = ?first.stored,
            derived = ?first.derived,
            expires_too_late = first.expires_too_late,
            "a difference that was added gives other figures than the sources; nothing of its \
             transaction is applied"
        );
        Err(StoreError::WrongDifference { facility_id: first.facility_id, date: first.date })
    }

    fn count_days(&self, how: &str, reason: &str, days: usize) {
        self.metrics.event_days.with_label_values(&[how, reason]).inc_by(days as u64);
    }
}
