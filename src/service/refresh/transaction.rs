//! The steps of a refresh within a transaction: lock, derive, give versions, write.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use uuid::Uuid;

use super::{
    Refreshed, Refresher, differences::Changed, scope::RefreshScope, versions::give_versions,
};
use crate::{
    domain::{
        day::Day,
        facility::Facility,
        summary::{Bounds, DayKey, Key, SummaryRow},
    },
    metrics::RefreshTrigger,
    service::imports::{Recorded, StockChange},
    store,
    store::{Derived, FacilityState, StoreError, Transaction},
};

/// What the steps of a refresh have done.
#[derive(Default)]
struct Applied {
    refreshed: Vec<Refreshed>,
    recorded: Recorded,
    /// The days to which a difference was added.
    by_difference: Vec<DayKey>,
}

impl Refresher {
    /// Refreshes within a transaction that the caller commits; after the commit the caller calls
    /// `publish`. `StoreError::Conflict` where a facility is not in its key's zone any more: the
    /// caller reads the zones anew and starts over.
    pub async fn apply(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        trigger: RefreshTrigger,
    ) -> store::Result<Vec<Refreshed>> {
        self.apply_with_stock(tx, scope, &StockChange::None, trigger)
            .await
            .map(|(refreshed, _)| refreshed)
    }

    /// The same for the transaction of events, which knows what it has changed. Where the stored
    /// row is known to be right, the difference is added to it, and nothing is derived. Also
    /// returns the days to which a difference was added, for `verify`.
    pub async fn apply_changed(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        changed: &Changed,
    ) -> store::Result<(Vec<Refreshed>, Vec<DayKey>)> {
        self.apply_steps(tx, scope, &StockChange::None, Some(changed), RefreshTrigger::Event)
            .await
            .map(|applied| (applied.refreshed, applied.by_difference))
    }

    /// Like `apply`, and also changes the recorded stock of closed days.
    pub(super) async fn apply_with_stock(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        stock: &StockChange,
        trigger: RefreshTrigger,
    ) -> store::Result<(Vec<Refreshed>, Recorded)> {
        self.apply_steps(tx, scope, stock, None, trigger)
            .await
            .map(|applied| (applied.refreshed, applied.recorded))
    }

    async fn apply_steps(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        stock: &StockChange,
        changed: Option<&Changed>,
        trigger: RefreshTrigger,
    ) -> store::Result<Applied> {
        let started = Instant::now();
        let facilities = scope.facilities();
        if facilities.is_empty() {
            return Ok(Applied::default());
        }
        let mut states = tx.lock(&facilities.keys().copied().collect::<Vec<_>>()).await?;
        let keys = scope.resolve(&*self.store).await?;
        let (mut derived, to_derive) = match changed {
            Some(changed) => self.add_differences(tx, keys.clone(), changed, &states).await?,
            None => (Vec::new(), keys.clone()),
        };
        let by_difference: HashSet<Key> = derived.iter().map(|d| d.row.key()).collect();
        if !to_derive.is_empty() {
            derived.extend(tx.derive(&to_derive).await?);
        }
        let zones = zones_now(tx, &facilities, &derived).await?;
        if facilities
            .iter()
            .any(|(id, facility)| zones.get(id).is_some_and(|zone| *zone != facility.zone.name))
        {
            return Err(StoreError::Conflict);
        }
        let left_behind = self.left_behind(&keys, &derived, &zones).await?;
        let next_days = next_days_of_just_ended(&to_derive, &derived);
        if !next_days.is_empty() {
            derived.extend(tx.derive(&next_days).await?);
        }
        let recorded = stock.apply(tx, &mut derived).await?;
        derived.sort_unstable_by_key(|d| d.row.key());
        self.compare_with_known(&mut states, &derived);
        let (refreshed, opened) = give_versions(&mut states, derived, left_behind);
        let rows: Vec<SummaryRow> =
            refreshed.iter().filter(|r| r.written).map(|r| r.row.clone()).collect();
        tx.write(&rows, &by_difference).await?;
        if !opened.is_empty() {
            tx.open_days(&opened).await?;
        }
        self.metrics
            .refresh_duration
            .with_label_values(&[trigger.as_str()])
            .observe(started.elapsed().as_secs_f64());
        let changed = refreshed.iter().filter(|r| r.changed).count();
        self.count(trigger, "changed", changed);
        self.count(trigger, "unchanged", refreshed.len() - changed);
        let by_difference =
            keys.into_iter().filter(|key| by_difference.contains(&key.id())).collect();
        Ok(Applied { refreshed, recorded, by_difference })
    }

    /// Compares the stored rows with the versions that are known to have been committed. Under the
    /// lock each row is as new as those. A lower version, or none, belongs to another epoch: for
    /// example, a backup was just restored. New versions are greater than all known ones.
    fn compare_with_known(&self, states: &mut HashMap<Uuid, FacilityState>, derived: &[Derived]) {
        let mut is_behind = false;
        for d in derived {
            let (key, stored) = (d.row.key(), d.row.summary.version);
            let state = states.entry(key.facility_id).or_default();
            let known = self.changes.known_version(&key);
            is_behind |= known > stored.max(state.removed_at_version);
            state.version = state.version.max(stored).max(known);
        }
        if is_behind {
            self.changes.suspect_restore();
        }
    }

    /// Rows of these facilities for dates that have not begun in the facility's present zone. They
    /// were written in an earlier zone, and no refresh reaches them until their day begins. If the
    /// facility moved back before that, they would count as rows of its day, exact as of any
    /// watermark. So they become rows of no day. They get later versions, so that they replace what
    /// other tiers hold.
    async fn left_behind(
        &self,
        keys: &[DayKey],
        derived: &[Derived],
        zones: &HashMap<Uuid, String>,
    ) -> store::Result<Vec<SummaryRow>> {
        let begun: BTreeSet<Key> = derived.iter().map(|d| d.row.key()).collect();
        let to_come: Vec<Key> = keys
            .iter()
            .map(DayKey::id)
            .filter(|key| !begun.contains(key) && zones.contains_key(&key.facility_id))
            .collect();
        if to_come.is_empty() {
            return Ok(Vec::new());
        }
        // Outside of the transaction, but under its locks: no other transaction writes these rows
        // now.
        let rows = self.store.summaries(&to_come).await?.rows;
        let of_no_day =
            |row| SummaryRow { bounds: Some(Bounds::OF_NO_DAY), next_expires_at_ms: None, ..row };
        Ok(rows.into_iter().filter(|row| !row.is_left_behind()).map(of_no_day).collect())
    }
}

/// The present zones of these facilities. A facility of which nothing was derived, as none of its
/// days has begun, is read for this. One that is gone has no zone.
async fn zones_now(
    tx: &mut dyn Transaction,
    facilities: &BTreeMap<Uuid, &Arc<Facility>>,
    derived: &[Derived],
) -> store::Result<HashMap<Uuid, String>> {
    let mut zones: HashMap<Uuid, String> =
        derived.iter().map(|d| (d.row.summary.facility_id, d.timezone.clone())).collect();
    let underived: Vec<Uuid> =
        facilities.keys().filter(|id| !zones.contains_key(id)).copied().collect();
    if !underived.is_empty() {
        zones
            .extend(tx.facilities(&underived).await?.into_iter().map(|row| (row.id, row.timezone)));
    }
    Ok(zones)
}

/// Whether one of the facilities does not exist. A facility with a day that was derived does.
pub(super) async fn is_one_gone(
    tx: &mut dyn Transaction,
    scope: &RefreshScope,
    refreshed: &[Refreshed],
) -> store::Result<bool> {
    let is_derived = |id: &Uuid| refreshed.iter().any(|r| r.row.summary.facility_id == *id);
    let underived: Vec<Uuid> =
        scope.facilities().into_keys().filter(|id| !is_derived(id)).collect();
    Ok(!underived.is_empty() && tx.facilities(&underived).await?.len() < underived.len())
}

/// The days after those that have just ended. A day that was today when its key was made may have
/// ended by the database's clock since; a change of stock then belongs to the next day. So a day
/// that ended within the last minute is refreshed together with the next one.
fn next_days_of_just_ended(keys: &[DayKey], derived: &[Derived]) -> Vec<DayKey> {
    const JUST_MS: i64 = 60_000;
    let present: BTreeSet<Key> = derived.iter().map(|d| d.row.key()).collect();
    keys.iter()
        .filter(|key| {
            derived.first().is_some_and(|d| {
                (key.day.end_ms..key.day.end_ms + JUST_MS).contains(&d.row.as_of_ms)
            })
        })
        .map(|key| DayKey {
            facility: key.facility.clone(),
            day: Day::containing(&key.facility.zone.tz, key.day.end_ms),
        })
        .filter(|next| !present.contains(&next.id()))
        .collect()
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
