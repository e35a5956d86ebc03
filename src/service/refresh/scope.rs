//! The scope of a refresh: single days, and facilities of which every day is refreshed. Which days
//! these facilities have is read after they are locked. By then, a writer to one of them has
//! committed, or it waits for the lock and then reads what the refresh has written.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    domain::{day::Day, facility::Facility, summary::DayKey},
    service::refresh::days::all_days_with_data,
    store::{self, Store},
};

/// What a refresh is about.
#[derive(Debug, Clone, Default)]
pub struct RefreshScope {
    /// Single days.
    pub days: Vec<DayKey>,
    /// Facilities of which every day is refreshed that has a row or data, and today.
    pub whole: Vec<Arc<Facility>>,
}

impl From<Vec<DayKey>> for RefreshScope {
    fn from(days: Vec<DayKey>) -> Self {
        RefreshScope { days, whole: Vec::new() }
    }
}

impl RefreshScope {
    /// Adds a day.
    pub fn add_day(&mut self, facility: &Arc<Facility>, day: Day) {
        self.days.push(DayKey { facility: facility.clone(), day });
    }

    /// Adds every day of a facility.
    pub fn add_whole(&mut self, facility: &Arc<Facility>) {
        self.whole.push(facility.clone());
    }

    /// All facilities of the scope, by id.
    pub fn facilities(&self) -> BTreeMap<Uuid, &Arc<Facility>> {
        self.days
            .iter()
            .map(|key| &key.facility)
            .chain(&self.whole)
            .map(|facility| (facility.id, facility))
            .collect()
    }

    /// All days of the scope, each once. Call it after the facilities were locked.
    pub async fn resolve(&self, store: &dyn Store) -> store::Result<Vec<DayKey>> {
        let mut keys: BTreeMap<_, DayKey> =
            self.days.iter().map(|key| (key.id(), key.clone())).collect();
        if !self.whole.is_empty() {
            keys.extend(
                all_days_with_data(store, &self.whole)
                    .await?
                    .into_iter()
                    .map(|key| (key.id(), key)),
            );
        }
        Ok(keys.into_values().collect())
    }
}
