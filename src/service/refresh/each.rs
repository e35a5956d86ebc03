//! Refreshes of many days, of which some may fail: one that does stops no other.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Refreshed, Refresher, request::RefreshRequest};
use crate::{domain::summary::DayKey, metrics::RefreshTrigger, store, store::StoreError};

/// What became of many days.
#[derive(Debug)]
pub struct Each {
    /// The rows that could be refreshed.
    pub refreshed: Vec<Refreshed>,
    /// The days that cannot be counted, with the reason. Their figures stay as they were, and no
    /// watermark counts for them: nothing waits for them.
    pub failing: Vec<(DayKey, StoreError)>,
    /// The last error of days that are to be tried again.
    pub result: store::Result<()>,
}

impl Refresher {
    /// Refreshes these days together. Where that fails because of a lock, it refreshes facility by
    /// facility; where an expression fails on a row, it halves the days until those are found that
    /// cannot be counted.
    pub async fn run_each(&self, keys: Vec<DayKey>, trigger: RefreshTrigger) -> Each {
        let mut each = Each { refreshed: Vec::new(), failing: Vec::new(), result: Ok(()) };
        match self.run(RefreshRequest::days(keys.clone(), trigger)).await {
            Ok(refreshed) => each.refreshed = refreshed,
            Err(error) if self.store.is_of_rows(&error) => {
                self.run_halves(keys, error, trigger, &mut each).await;
            }
            Err(StoreError::Locked(_) | StoreError::Conflict) => {
                self.run_facilities(keys, trigger, &mut each).await;
            }
            Err(error) => each.result = Err(error),
        }
        each
    }

    async fn run_facilities(&self, keys: Vec<DayKey>, trigger: RefreshTrigger, each: &mut Each) {
        let mut by_facility: BTreeMap<Uuid, Vec<DayKey>> = BTreeMap::new();
        keys.into_iter().for_each(|key| by_facility.entry(key.facility.id).or_default().push(key));
        for (facility_id, keys) in by_facility {
            match self.run(RefreshRequest::days(keys.clone(), trigger).one_of_many()).await {
                Ok(refreshed) => each.refreshed.extend(refreshed),
                Err(error) if self.store.is_of_rows(&error) => {
                    self.run_halves(keys, error, trigger, each).await;
                }
                Err(error) => {
                    self.log_waiting(facility_id, &error);
                    let is_of_all = error.is_of_the_whole_database();
                    each.result = Err(error);
                    if is_of_all {
                        return; // the others would fail as well, each after a time-out
                    }
                }
            }
        }
    }

    /// Finds the days on which an expression fails: at most two tries for each day, and few where
    /// few fail.
    async fn run_halves(
        &self,
        keys: Vec<DayKey>,
        error: StoreError,
        trigger: RefreshTrigger,
        each: &mut Each,
    ) {
        let mut parts = vec![(keys, error)];
        while let Some((mut keys, error)) = parts.pop() {
            if let [key] = keys.as_slice() {
                match self.keep_still(key, &error).await {
                    Ok(()) => each.failing.push((key.clone(), error)),
                    Err(kept) => {
                        self.log_waiting(key.facility.id, &kept);
                        each.result = Err(kept);
                    }
                }
                continue;
            }
            let second = keys.split_off(keys.len() / 2);
            for half in [keys, second].into_iter().filter(|half| !half.is_empty()) {
                match self.run(RefreshRequest::days(half.clone(), trigger).one_of_many()).await {
                    Ok(refreshed) => each.refreshed.extend(refreshed),
                    Err(error) if self.store.is_of_rows(&error) => parts.push((half, error)),
                    Err(error) => {
                        half.iter().for_each(|key| self.log_waiting(key.facility.id, &error));
                        let is_of_all = error.is_of_the_whole_database();
                        each.result = Err(error);
                        if is_of_all {
                            return;
                        }
                    }
                }
            }
        }
    }
}
