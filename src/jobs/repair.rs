//! Looking at facility-days, and putting right what differs from its sources: the rebuild does it
//! with all, the audit with a sample.

use crate::domain::summary::Key;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    domain::summary::DayKey,
    metrics::{Metrics, Trigger},
    service::refresh::Refresher,
    store::{Store, StoreError},
};

pub struct Repairer {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub metrics: Arc<Metrics>,
    /// Facility-days refreshed in one transaction.
    pub chunk: usize,
}

/// What has been repaired so far, over one or more looks.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Rows that were as they should be.
    pub right: usize,
    /// Rows changed.
    pub changed: i64,
    /// Rows that differed with no mark and no expiry to explain it; each counts once, however
    /// often it is looked at.
    pub drifted: HashSet<Key>,
    /// What could not be looked at or put right, and why the last of it could not.
    pub left: Vec<DayKey>,
    pub error: Option<StoreError>,
}

impl Repaired {
    fn leave(&mut self, keys: impl IntoIterator<Item = DayKey>, error: StoreError) {
        self.left.extend(keys);
        self.error = Some(error);
    }

    /// What is left, in words: the class of the last failure, and some of the facilities.
    pub fn complaint(&self) -> Option<String> {
        const NAMED: usize = 3;
        let error = self.error.as_ref().filter(|_| !self.left.is_empty())?;
        let facilities: BTreeSet<Uuid> = self.left.iter().map(|key| key.facility.id).collect();
        let named: Vec<String> = facilities.iter().take(NAMED).map(Uuid::to_string).collect();
        let more = if facilities.len() > NAMED {
            format!(" and {} more", facilities.len() - NAMED)
        } else {
            String::new()
        };
        Some(format!(
            "{}: {} days were left, of facilities {}{more}",
            error.class(),
            self.left.len(),
            named.join(", ")
        ))
    }
}

impl Repairer {
    /// Looks at these keys in one snapshot, counts drift, and refreshes the rows that differ; adds
    /// what came of it to `repaired`.
    pub async fn repair(&self, keys: &[DayKey], repaired: &mut Repaired) {
        let differences = match self.store.audit(keys).await {
            Ok(differences) => differences,
            Err(error) => return repaired.leave(keys.iter().cloned(), error),
        };
        for drift in
            differences.iter().filter(|d| d.figures_differ && !d.explained && d.stored.is_some())
        {
            if repaired.drifted.insert((drift.facility_id, drift.date)) {
                self.metrics.drift_rows.inc();
                tracing::warn!(
                    facility_id = %drift.facility_id, date = %drift.date, stored = ?drift.stored, derived = ?drift.derived,
                    "a summary differs from its sources and no mark says why; it is refreshed"
                );
            }
        }
        let wrong: HashSet<Key> = differences.iter().map(|d| (d.facility_id, d.date)).collect();
        let wrong: Vec<DayKey> = keys.iter().filter(|k| wrong.contains(&k.id())).cloned().collect();
        repaired.right += keys.len() - wrong.len();
        for chunk in wrong.chunks(self.chunk) {
            let (refreshed, result) =
                self.refresher.run_each(chunk.to_vec(), Trigger::Schedule).await;
            repaired.changed += refreshed.iter().filter(|r| r.changed).count() as i64;
            if let Err(error) = result {
                let done: HashSet<Key> = refreshed
                    .iter()
                    .map(|r| (r.row.summary.facility_id, r.row.summary.date))
                    .collect();
                repaired
                    .leave(chunk.iter().filter(|key| !done.contains(&key.id())).cloned(), error);
            }
        }
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
