//! All facilities, in memory: an unknown one costs no query, and a known one's today costs a comparison.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use super::look_ups::LookUps;
use crate::domain::facility::{Facility, Zone};
use crate::store::{self, FacilityRow, Store, StoreError};

/// The facilities as last read or written. Locks are held for a map access, never across an await.
#[derive(Default)]
pub struct Directory {
    facilities: RwLock<HashMap<Uuid, Arc<Facility>>>,
    zones: RwLock<HashMap<String, Arc<Zone>>>,
    /// Ordered by name for listings; emptied by every change and made anew by the next listing.
    by_name: RwLock<Option<Arc<Vec<Arc<Facility>>>>>,
    loaded: AtomicBool,
    /// Held from before the rows are read until they are taken over: of two readings the later counts.
    reading: tokio::sync::Mutex<()>,
    look_ups: LookUps,
}

impl Directory {
    /// Reads all facilities, and answers those that were known and no longer exist.
    pub async fn load(&self, store: &dyn Store) -> store::Result<Vec<Uuid>> {
        let _reading = self.reading.lock().await;
        // Before the rows are read: what is registered meanwhile may not be in them, and stays.
        let before: Vec<Uuid> = self.facilities.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let rows = store.facilities(None).await?;
        let facilities: HashMap<Uuid, Arc<Facility>> = rows.into_iter().map(|row| (row.id, self.facility(row))).collect();
        let gone = {
            let mut known = self.facilities.write().unwrap_or_else(PoisonError::into_inner);
            let gone: Vec<Uuid> = before.into_iter().filter(|id| !facilities.contains_key(id)).collect();
            gone.iter().for_each(|id| drop(known.remove(id)));
            known.extend(facilities);
            gone
        };
        self.forget_order();
        self.loaded.store(true, Ordering::Release);
        Ok(gone)
    }

    /// Reads these facilities again; answers those that no longer exist.
    pub async fn reload(&self, store: &dyn Store, ids: &[Uuid]) -> store::Result<Vec<Uuid>> {
        let _reading = self.reading.lock().await;
        let rows = store.facilities(Some(ids)).await?;
        let mut gone: Vec<Uuid> = ids.to_vec();
        gone.retain(|id| !rows.iter().any(|row| row.id == *id));
        rows.into_iter().for_each(|row| self.insert(row));
        {
            let mut facilities = self.facilities.write().unwrap_or_else(PoisonError::into_inner);
            gone.iter().for_each(|id| drop(facilities.remove(id)));
        }
        self.forget_order();
        Ok(gone)
    }

    /// Takes over a facility that was just written.
    pub fn insert(&self, row: FacilityRow) {
        let facility = self.facility(row);
        self.facilities.write().unwrap_or_else(PoisonError::into_inner).insert(facility.id, facility);
        self.forget_order();
    }

    pub fn get(&self, id: Uuid) -> Option<Arc<Facility>> {
        self.facilities.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All facilities by name, then id.
    pub fn by_name(&self) -> Arc<Vec<Arc<Facility>>> {
        if let Some(list) = &*self.by_name.read().unwrap_or_else(PoisonError::into_inner) {
            return list.clone();
        }
        let mut remembered = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Arc<Facility>> = self.facilities.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        list.sort_unstable_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let list = Arc::new(list);
        *remembered = Some(list.clone());
        list
    }

    /// Whether it was ever loaded; before that the service is not ready.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// The facility, by a rate-limited look-up in the database where memory does not know it. To be run to its end: others may wait for it.
    pub async fn look_up(&self, store: &dyn Store, id: Uuid) -> Result<Option<Arc<Facility>>, Arc<StoreError>> {
        if let Some(row) = self.look_ups.find(store, id).await?
            && self.get(id).is_none()
        {
            self.insert(row);
        }
        Ok(self.get(id))
    }

    /// The facility of a row, in its shared zone. A zone that does not exist (written by another program) counts as UTC, and is said.
    pub fn facility(&self, row: FacilityRow) -> Arc<Facility> {
        let zone = self.zone(&row.timezone).unwrap_or_else(|| {
            tracing::warn!(facility_id = %row.id, timezone = %row.timezone, "the facility's time zone does not exist; its days are taken as UTC's");
            // Under the name that the row has, so that the refresh finds the key's zone to be the row's.
            let utc = Arc::new(Zone::utc_named(&row.timezone));
            self.zones.write().unwrap_or_else(PoisonError::into_inner).insert(row.timezone.clone(), utc.clone());
            utc
        });
        Arc::new(Facility { id: row.id, name: row.name, zone })
    }

    fn zone(&self, name: &str) -> Option<Arc<Zone>> {
        if let Some(zone) = self.zones.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(zone.clone());
        }
        let zone = Arc::new(Zone::named(name)?);
        self.zones.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), zone.clone());
        Some(zone)
    }

    fn forget_order(&self) {
        *self.by_name.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
