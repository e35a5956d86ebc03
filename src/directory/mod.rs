//! The directory: all facilities, in memory. A read of an unknown facility costs no query, and
//! today's date of a known one costs a comparison.
//!
//! The directory follows the same rule as the figures: it is exact as of an instant, which is never
//! later than what was read of the database proves. An answer that uses the directory claims no
//! later instant.

mod directory_read;
mod facility_loader;
mod unread;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use uuid::Uuid;

use crate::{
    cache::memory::Memory,
    domain::{
        facility::{Facility, Zone},
        zones,
    },
    protocol::Epoch,
    store::{self, FacilityRow, Store, StoreError},
};
pub use directory_read::DirectoryRead;
use facility_loader::FacilityLoader;
pub use unread::ReadTask;
use unread::Unread;

/// The facilities as last read or written. Its locks are held for one map access, and never across
/// an await.
pub struct Directory {
    /// The memory tier, which drops the entries of facilities that were removed or registered
    /// again.
    memory: Arc<Memory>,
    /// The epoch that is served; none before the first drain snapshot, and in commands.
    served: Arc<ArcSwapOption<Epoch>>,
    stores_watermark: bool,
    facilities: RwLock<HashMap<Uuid, Arc<Facility>>>,
    zones: RwLock<HashMap<String, Arc<Zone>>>,
    /// Ordered by name, for listings. Every change empties it, and the next listing makes it again.
    by_name: RwLock<Option<Arc<Vec<Arc<Facility>>>>>,
    loaded: AtomicBool,
    /// Held from before the rows are read until they are taken over, so that of two reads the later
    /// one counts.
    reading: tokio::sync::Mutex<()>,
    loader: FacilityLoader,
    unread: Unread,
}

/// A facility, and an instant as of which the directory was right about it.
#[derive(Debug, Clone)]
pub struct Located {
    /// The facility, in its zone.
    pub facility: Arc<Facility>,
    /// The instant, in milliseconds; `i64::MIN` before the first proof.
    pub as_of_ms: i64,
}

/// Bytes of a name that are kept and shown: 500 characters of four bytes, as events may bring them.
const MOST_NAME: usize = 2_000;
/// Time to wait after facilities could not be read.
const RETRY: Duration = Duration::from_millis(100);
/// The longest time that a reader waits until the drain has entered the database's epoch: a few of
/// its intervals.
const ENTERED_WITHIN: Duration = Duration::from_secs(2);
/// Time-out for reading facilities. A connection that the network dropped silently would otherwise
/// never end.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

impl Directory {
    /// An empty directory. `memory` holds the entries of its facilities; `stores_watermark` says
    /// whether other processes read the table, so that watermarks are stored beside its rows.
    pub fn new(memory: Arc<Memory>, stores_watermark: bool) -> Self {
        Directory {
            memory,
            served: Arc::default(),
            stores_watermark,
            facilities: RwLock::default(),
            zones: RwLock::default(),
            by_name: RwLock::default(),
            loaded: AtomicBool::default(),
            reading: tokio::sync::Mutex::default(),
            loader: FacilityLoader::default(),
            unread: Unread::default(),
        }
    }

    /// The epoch that is served; `Changes` sets it.
    pub fn served(&self) -> &Arc<ArcSwapOption<Epoch>> {
        &self.served
    }

    /// Reads all facilities, and returns those that were known and no longer exist.
    /// `StoreError::OtherEpoch` as in [`Directory::finish_reading`].
    pub async fn load(&self, store: &dyn Store) -> store::Result<Vec<Uuid>> {
        let reading = self.begin_reading(None).await;
        let read = store.facilities(None).await?;
        self.finish_reading(reading, read)
    }

    /// Reads all facilities; the directory is then exact as of the call or later.
    /// `StoreError::OtherEpoch` as in [`Directory::finish_reading`].
    pub async fn read_all(&self, store: &dyn Store) -> store::Result<()> {
        self.read_unless(store, |_| false).await.map(drop)
    }

    /// Makes the directory fresh enough for a reader. Waits until no other read is under way. Then
    /// reads all facilities, unless `will_do` accepts the instant as of which the directory is
    /// exact by then. After a read the directory is exact as of the call or later.
    /// `StoreError::Superseded` where this server only reads what another one has stored, and
    /// `will_do` does not accept that. `StoreError::OtherEpoch` where the drain has not entered
    /// another epoch in time.
    pub async fn catch_up(
        &self,
        store: &dyn Store,
        will_do: impl Fn(i64) -> bool,
    ) -> store::Result<()> {
        let asked = Instant::now();
        loop {
            match self.read_unless(store, &will_do).await {
                Err(StoreError::OtherEpoch) if asked.elapsed() < ENTERED_WITHIN => {
                    tokio::time::sleep(RETRY).await;
                }
                Ok(true) if !will_do(self.exact_as_of_ms()) => return Err(StoreError::Superseded),
                done => return done.map(drop),
            }
        }
    }

    /// Returns whether the rows are those that another server has stored.
    async fn read_unless(
        &self,
        store: &dyn Store,
        will_do: impl Fn(i64) -> bool,
    ) -> store::Result<bool> {
        let reading = self.begin_reading(None).await;
        if will_do(self.exact_as_of_ms()) {
            return Ok(false);
        }
        let at_ms = store.now_ms().await?;
        let read = store.facilities(None).await?;
        let is_stored = read.stored_ms.is_some();
        self.finish_reading(reading.exact_as_of(at_ms), read).map(|_| is_stored)
    }

    /// Reads these facilities again, and returns those that no longer exist.
    /// `StoreError::OtherEpoch` as in [`Directory::finish_reading`].
    pub async fn reload(&self, store: &dyn Store, ids: &[Uuid]) -> store::Result<Vec<Uuid>> {
        let reading = self.begin_reading(Some(ids)).await;
        let read = store.facilities(Some(ids)).await?;
        self.finish_reading(reading, read)
    }

    fn take_over(&self, rows: Vec<FacilityRow>, gone: &[Uuid]) {
        // Memory first: a reader that finds the facility here must not find figures of its former
        // life there.
        for row in rows.iter().filter(|row| row.removed_at_version > 0) {
            self.memory.begin_life(row.id, row.removed_at_version);
        }
        let facilities: Vec<Arc<Facility>> =
            rows.into_iter().map(|row| self.facility(row)).collect();
        let mut changed: Vec<Uuid> = gone.to_vec();
        {
            let mut known = self.facilities.write().unwrap_or_else(PoisonError::into_inner);
            gone.iter().for_each(|id| drop(known.remove(id)));
            let is_known = |facility: &Facility| {
                known.get(&facility.id).is_some_and(|known| {
                    known.name == facility.name && known.zone.name == facility.zone.name
                })
            };
            let new = facilities.iter().filter(|facility| !is_known(facility));
            changed.extend(new.map(|facility| facility.id));
            known.extend(facilities.into_iter().map(|facility| (facility.id, facility)));
        }
        self.forget_order();
        // Before the directory claims to be exact as of a later instant.
        self.memory.note_changed(&changed);
        gone.iter().for_each(|id| self.memory.forget_facility(*id));
    }

    /// Takes over a facility that was just written, for the time until it is read.
    pub fn insert(&self, row: FacilityRow) {
        self.take_over(vec![row], &[]);
    }

    /// Whether it has read all facilities that messages have named: a facility that it does not
    /// know may be one of the others.
    pub fn has_read_all_named(&self) -> bool {
        self.unread.is_empty()
    }

    /// The facility; `None` where the directory does not know it.
    pub fn get(&self, id: Uuid) -> Option<Arc<Facility>> {
        self.facilities.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The facility, with the instant as of which the directory is right about it.
    pub fn locate(&self, id: Uuid) -> Option<Located> {
        // The instant is loaded before the facility. In the other order the facility might be older
        // than the instant.
        let as_of_ms = self.exact_as_of_ms();
        self.get(id).map(|facility| Located { facility, as_of_ms })
    }

    /// All facilities by name, then id, and the instant as of which the list is right.
    pub fn all(&self) -> (Arc<Vec<Arc<Facility>>>, i64) {
        let as_of_ms = self.exact_as_of_ms();
        (self.by_name(), as_of_ms)
    }

    /// All facilities by name, then id.
    pub fn by_name(&self) -> Arc<Vec<Arc<Facility>>> {
        if let Some(list) = &*self.by_name.read().unwrap_or_else(PoisonError::into_inner) {
            return list.clone();
        }
        let mut remembered = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Arc<Facility>> = self
            .facilities
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        list.sort_unstable_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let list = Arc::new(list);
        *remembered = Some(list.clone());
        list
    }

    /// Whether all facilities were read at least once. The service is not ready before that.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// The instant as of which the directory has all facilities, each in its zone, in milliseconds;
    /// `i64::MIN` before the first proof.
    pub fn exact_as_of_ms(&self) -> i64 {
        self.unread.exact_as_of_ms()
    }

    /// The number of the epoch. The caller takes it before it reads anything that a watermark of
    /// this epoch is to prove.
    pub fn epoch(&self) -> u32 {
        self.unread.epoch()
    }

    /// Records that these facilities were changed and are to be read again; `None`: all facilities.
    pub fn note_message(&self, ids: Option<Vec<Uuid>>) {
        self.unread.note_message(ids);
    }

    /// Records a watermark of the epoch with that number: every change of a facility up to `at_ms`
    /// was recorded here before.
    pub fn prove(&self, epoch: u32, at_ms: i64) {
        self.unread.prove(epoch, at_ms);
    }

    /// Begins another epoch: nothing is proven any more, and all facilities are read again.
    pub fn start_over(&self) {
        self.unread.start_over();
    }

    /// Waits for facilities that are to be read.
    pub async fn next(&self) -> ReadTask {
        self.unread.next().await
    }

    /// Reads changed facilities from the database, as they are recorded. Tries each until the
    /// database answers. Never ends.
    pub async fn read_what_is_heard_of(&self, store: &dyn Store) {
        loop {
            let task = self.next().await;
            let reading = async {
                match &task {
                    ReadTask::All => self.load(store).await,
                    ReadTask::These(ids) => self.reload(store, ids).await,
                }
            };
            match tokio::time::timeout(READ_TIMEOUT, reading).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => tracing::debug!(%error, "facilities could not be read again yet"),
                Err(_) => tracing::debug!("facilities could not be read again in time"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The facility, by a rate-limited query of the database. The future must run to its end, as
    /// other callers may wait for its query. `StoreError::OtherEpoch` as in `catch_up`.
    pub async fn find(
        &self,
        store: &dyn Store,
        id: Uuid,
    ) -> Result<Option<Located>, Arc<StoreError>> {
        let read = |ids: Vec<Uuid>| async move {
            let asked = Instant::now();
            loop {
                match self.reload(store, &ids).await {
                    Err(StoreError::OtherEpoch) if asked.elapsed() < ENTERED_WITHIN => {
                        tokio::time::sleep(RETRY).await;
                    }
                    done => return done.map(drop),
                }
            }
        };
        self.loader.find(id, read).await?;
        Ok(self.locate(id))
    }

    /// The facility of a row, with a zone that facilities share. A zone that does not exist
    /// (another program wrote it) counts as UTC, and is logged.
    pub fn facility(&self, row: FacilityRow) -> Arc<Facility> {
        let zone = self.zone(&row.timezone).unwrap_or_else(|| {
            let expected = zones::expected(&row.timezone);
            let timezone = zones::shortened(&row.timezone, zones::MAX_BYTES);
            // Logged once for each name, as the name is among the zones from then on.
            tracing::warn!(
                facility_id = %row.id,
                %timezone,
                expected,
                "a time zone does not exist; days in it are counted in UTC"
            );
            // Under the name in the row, so that a refresh finds the same name in its key and in
            // the row.
            let utc = Arc::new(Zone::utc_named(&row.timezone));
            self.zones
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(row.timezone.clone(), utc.clone());
            utc
        });
        // No event makes a longer name. A longer one, written by SQL, would make every listing
        // longer.
        let name = match zones::shortened(&row.name, MOST_NAME) {
            Cow::Borrowed(_) => row.name,
            Cow::Owned(beginning) => beginning,
        };
        Arc::new(Facility { id: row.id, name, zone, key: row.key })
    }

    fn zone(&self, name: &str) -> Option<Arc<Zone>> {
        if let Some(zone) = self.zones.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(zone.clone());
        }
        let zone = Arc::new(Zone::named(name)?);
        self.zones
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), zone.clone());
        Some(zone)
    }

    fn forget_order(&self) {
        *self.by_name.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
