//! Compares facility-days with their sources and repairs those that differ. The rebuild does it for
//! all facilities, the sample audit for a sample.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    domain::summary::{DayKey, Key},
    metrics::{Metrics, RefreshTrigger},
    service::refresh::Refresher,
    store::{self, Difference, Store, StoreError},
};

/// Repairs facility-days.
pub struct Repairer {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Runs the refreshes.
    pub refresher: Arc<Refresher>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The most facility-days that one transaction refreshes.
    pub chunk: usize,
}

/// The result of one or more repairs.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Rows that equalled their sources.
    pub right: usize,
    /// Rows that were changed.
    pub changed: i64,
    /// Rows that differed although no mark and no expiry explains it. A row counts once, even when
    /// it is checked again.
    pub drifted: HashSet<Key>,
    /// Days that cannot be counted, as an expression of the mapping fails on a row, with the error.
    pub failing: Vec<(DayKey, StoreError)>,
    /// Days that could not be checked or repaired.
    pub left: Vec<DayKey>,
    /// The last error of those.
    pub error: Option<StoreError>,
}

impl Repaired {
    fn leave(&mut self, keys: impl IntoIterator<Item = DayKey>, error: StoreError) {
        self.left.extend(keys);
        self.error = Some(error);
    }

    /// A text about what is left: the class of the last error, and some of the facilities. `None`
    /// when nothing is left.
    pub fn complaint(&self) -> Option<String> {
        const NAMED: usize = 3;
        let of_failing = self.failing.first().map(|(_, error)| error);
        let of_left = self.error.as_ref().filter(|_| !self.left.is_empty());
        let error = of_left.or(of_failing)?;
        let left: Vec<&DayKey> =
            self.left.iter().chain(self.failing.iter().map(|(key, _)| key)).collect();
        let facilities: BTreeSet<Uuid> = left.iter().map(|key| key.facility.id).collect();
        let named: Vec<String> = facilities.iter().take(NAMED).map(Uuid::to_string).collect();
        let more = if facilities.len() > NAMED {
            format!(" and {} more", facilities.len() - NAMED)
        } else {
            String::new()
        };
        Some(format!(
            "{}: {} days were left, of facilities {}{more}",
            error.class(),
            left.len(),
            named.join(", ")
        ))
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Audited {
    /// The rows that differ.
    pub differences: Vec<Difference>,
    /// Days on which an expression of the mapping fails, with the error.
    pub failing: Vec<(DayKey, StoreError)>,
}

/// Compares these days with their sources. Where an expression fails on a row, it halves the days
/// until those are found on which it does.
pub async fn audit_each(store: &dyn Store, keys: &[DayKey]) -> store::Result<Audited> {
    let (mut audited, mut parts) = (Audited::default(), vec![keys]);
    while let Some(part) = parts.pop() {
        match (store.audit(part).await, part) {
            (Ok(differences), _) => audited.differences.extend(differences),
            (Err(error), _) if !store.is_of_rows(&error) => return Err(error),
            (Err(error), [key]) => audited.failing.push((key.clone(), error)),
            (Err(_), part) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    Ok(audited)
}

impl Repairer {
    /// Compares these days with their sources in one snapshot, counts the differences that nothing
    /// explains, and refreshes the rows that differ. The result is added to `repaired`.
    pub async fn repair(&self, keys: &[DayKey], repaired: &mut Repaired) {
        let audited = match audit_each(&*self.store, keys).await {
            Ok(audited) => audited,
            Err(error) => return repaired.leave(keys.iter().cloned(), error),
        };
        let differences = audited.differences;
        let key = |d: &Difference| Key { facility_id: d.facility_id, date: d.date };
        for drift in
            differences.iter().filter(|d| d.figures_differ && !d.explained && d.stored.is_some())
        {
            if repaired.drifted.insert(key(drift)) {
                self.metrics.drift_rows.inc();
                self.metrics.drift_by_difference.inc_by(drift.by_difference.into());
                tracing::warn!(
                    facility_id = %drift.facility_id,
                    date = %drift.date,
                    stored = ?drift.stored,
                    derived = ?drift.derived,
                    by_difference = drift.by_difference,
                    "a summary differs from its sources and no mark says why; it is refreshed"
                );
            }
        }
        let failing = audited.failing.iter().map(|(key, _)| key.id());
        let wrong: HashSet<Key> = differences.iter().map(key).chain(failing).collect();
        repaired.right += keys.len() - wrong.len();
        let is_due = |key: &&DayKey| wrong.contains(&key.id()) || self.is_unproven(key);
        let due: Vec<DayKey> = keys.iter().filter(is_due).cloned().collect();
        for chunk in due.chunks(self.chunk) {
            let each = self.refresher.run_each(chunk.to_vec(), RefreshTrigger::Schedule).await;
            repaired.changed += each.refreshed.iter().filter(|r| r.changed).count() as i64;
            if let Err(error) = each.result {
                let failing = each.failing.iter().map(|(key, _)| key.id());
                let done: HashSet<Key> =
                    each.refreshed.iter().map(|r| r.row.key()).chain(failing).collect();
                repaired
                    .leave(chunk.iter().filter(|key| !done.contains(&key.id())).cloned(), error);
            }
            repaired.failing.extend(each.failing);
        }
    }

    /// Whether no watermark will prove this day, which is today: the writes of other programs are
    /// not noticed. A refresh proves it as of now, and writes nothing where nothing has changed.
    fn is_unproven(&self, key: &DayKey) -> bool {
        self.store.are_unwatched() && key.day.contains(self.refresher.clock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{day::Day, facility::Zone};

    #[test]
    fn what_is_left_is_named_with_its_reason() {
        let key = |n: u128| {
            let zone = Arc::new(Zone::named("UTC").unwrap());
            let facility = Arc::new(crate::domain::facility::Facility {
                id: Uuid::from_u128(n),
                name: String::new(),
                key: None,
                zone,
            });
            DayKey { day: Day::containing(&facility.zone.tz, 0), facility }
        };
        let mut repaired = Repaired { error: Some(StoreError::Conflict), ..Repaired::default() };
        assert_eq!(repaired.complaint(), None, "in the end nothing was left");
        repaired.leave((1..=5).map(key), StoreError::Conflict);
        let complaint = repaired.complaint().unwrap();
        assert!(
            complaint.starts_with(
                "conflict: 5 days were left, of facilities 00000000-0000-0000-0000-000000000001, "
            ),
            "{complaint}"
        );
        assert!(complaint.ends_with("-000000000003 and 2 more"), "{complaint}");
    }
}
