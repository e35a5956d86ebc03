//! The database, as the rest of the service sees it: one trait, two dialects (`postgres.rs`,
//! `sqlite.rs`), one behaviour (`tests/api/store_contract.rs` runs on both). The statements lie in
//! `sql/`, the tables in `migrations/`. What does not belong here: which days to refresh, versions,
//! freshness. Those are decided in `service`.

mod derived;
mod drain_snapshot;
mod entity_rows;
mod epoch;
mod error;
mod facility_rows;
pub mod imports;
mod job_queue;
mod marks;
pub mod postgres;
mod source_triggers;
pub mod sqlite;
mod tables;
pub mod unreadable;

use crate::domain::summary::Key;
use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    config::DatabaseSettings,
    domain::{
        event::{Kind, Record},
        summary::{DayKey, SummaryRow},
    },
    protocol::{Epoch, Watermark},
};
pub use derived::{Derived, Difference};
pub use drain_snapshot::{DrainSnapshot, Written};
pub use entity_rows::{LastCounted, Put, Removal};
pub use epoch::TableRead;
pub use error::StoreError;
pub use facility_rows::{FacilityRow, FacilityState};
pub use job_queue::{JobQueue, JobRun};
pub use marks::{Mark, MarkKind, Marks, Span};
pub use source_triggers::{TriggerOff, Triggers};

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Reads outside any transaction, and the way into one.
#[async_trait]
pub trait Store: JobQueue + imports::ImportLog + Send + Sync + 'static {
    /// The database's clock, by a round trip to it.
    async fn now_ms(&self) -> Result<i64>;
    /// All facilities, or those of `ids` that exist.
    async fn facilities(&self, ids: Option<&[Uuid]>) -> Result<Vec<FacilityRow>>;
    /// Facilities that do not exist and have summaries all the same.
    async fn orphans(&self) -> Result<Vec<Uuid>>;
    /// The stored rows of these keys and the stored watermark, in one statement.
    async fn summaries(&self, keys: &[Key]) -> Result<TableRead>;
    /// The same from a streaming replica, as old as that is: its watermark says. `None` where none
    /// is configured, or none answers now.
    async fn summaries_on_standby(&self, _keys: &[Key]) -> Option<TableRead> {
        None
    }
    /// The dates with a stored row.
    async fn stored_dates(&self, facilities: &[Uuid]) -> Result<Vec<Key>>;
    /// Where deliveries and requests lie: a span per facility and UTC day.
    async fn activity(&self, facilities: &[Uuid]) -> Result<Vec<Span>>;
    /// Facilities whose stored figures stop holding at or before `until_ms`, and their dates,
    /// soonest first.
    async fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<Key>>;
    /// The marks, unpublished changes, overdue expiries and what the fleet agreed on, all of it as
    /// visible in one snapshot. Only a server looks: from its first look until `close` it
    /// counts as one.
    async fn drain_snapshot(&self, limit: usize) -> Result<DrainSnapshot>;
    /// Before the first look: this server publishes into the stream between replicas, and counts
    /// among those that do.
    fn join_stream(&self) {}
    /// The keys whose stored row differs from its sources, all seen in one snapshot. Writes
    /// nothing, locks nothing.
    async fn audit(&self, keys: &[DayKey]) -> Result<Vec<Difference>>;
    /// Stores a watermark that was proven in this epoch, after the look that proved it. False, and
    /// nothing is stored, where the database is at another epoch by now, or has one as late, or
    /// where the connection of that look was lost.
    async fn store_watermark(&self, watermark: &Watermark, epoch: &Epoch) -> Result<bool>;
    /// Begins the generation of the stream behind `after`, and answers its number, which no other
    /// caller has ever got. `StoreError::Conflict` where somebody has begun it already.
    async fn begin_generation(&self, after: i64) -> Result<i64>;
    /// Ends an epoch, unless somebody has: the next look sees another, without a watermark, and
    /// versions go on above all that any history has handed out.
    async fn begin_epoch(&self, old: &Epoch) -> Result<()>;
    /// The oldest marks, `limit` at most: for a command, which is no server, so that no look of
    /// another counts it as one.
    async fn marks(&self, limit: usize) -> Result<Marks>;
    /// Deletes rows of both outboxes (by `DrainSnapshot::outbox` and `changed_facilities`) that
    /// were published in the generation of the look that saw them. False, and nothing is
    /// deleted, where the connection of that look was lost.
    async fn forget_published(&self, outbox: &[i64], facilities: &[i64]) -> Result<bool>;
    /// Deletes outbox rows of versions that a later one of the same day has followed: publishing
    /// the last is enough.
    async fn compact_outbox(&self) -> Result<()>;
    /// Remembers triggers that are all there, by their `Triggers::fingerprint`, and leaves a mark
    /// of everything with it, in one transaction; nothing of both where they are remembered so
    /// already.
    async fn note_triggers(&self, fingerprint: &str) -> Result<()>;
    /// Puts all triggers back that are missing, off, or set otherwise. False where none was. For
    /// the owner of the tables; on Postgres it waits for transactions that write them.
    async fn restore_triggers(&self) -> Result<bool>;
    /// Deletes tombstones of events before `tombstones_before_ms`, and ended runs begun before
    /// `runs_before_ms` except each job's latest.
    async fn prune(&self, tombstones_before_ms: i64, runs_before_ms: i64) -> Result<()>;

    /// Opens a transaction that writes. A lock that others hold is waited for `lock_timeout` at
    /// most, then `StoreError::Locked`.
    async fn begin(&self, lock_timeout: Duration) -> Result<Box<dyn Transaction>>;

    /// Connections by pool (`primary`; `read`, where there is one), for the gauges.
    fn connections(&self) -> Vec<(&'static str, Connections)>;
    /// Writing transactions that gain from running side by side.
    fn writers(&self) -> usize;
    /// What is wrong with the database, and what puts it right, where that is known.
    fn remedy(&self) -> Option<String> {
        None
    }
    /// `sqlite` or `postgres`.
    fn dialect(&self) -> &'static str;
    async fn close(&self);
}

/// One transaction of the single writer path: ingest, refresh, drain. Dropping it without a commit
/// undoes it.
#[async_trait]
pub trait Transaction: imports::ImportNotes + Send {
    /// Locks our own row of each facility, in id order, and answers it. Facilities without one get
    /// one.
    async fn lock(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>>;
    /// Remembers the day that each of these facilities, locked before, has opened.
    async fn open_days(&mut self, days: &[Key]) -> Result<()>;
    /// Aggregates the sources of these keys in one statement whose snapshot is taken after the
    /// lock. Days that have not begun are left out, unless there is a row of that name from
    /// another zone; so are facilities that do not exist.
    async fn derive(&mut self, keys: &[DayKey]) -> Result<Vec<Derived>>;
    /// Writes rows, the counters that their versions came from, and an outbox row for each.
    async fn write(&mut self, rows: &[SummaryRow]) -> Result<()>;
    /// Facilities as they are in this statement's snapshot, which is later than any lock taken
    /// before; those that do not exist are missing.
    async fn facilities(&mut self, ids: &[Uuid]) -> Result<Vec<FacilityRow>>;
    /// Deletes the rows of removed facilities, locked before, and remembers which versions theirs
    /// were.
    async fn remove_summaries(&mut self, facilities: &[Uuid]) -> Result<()>;

    /// Deletes exactly these marks, and answers those that were still there.
    async fn take_marks(&mut self, ids: &[i64]) -> Result<Vec<Mark>>;
    /// Appends marks.
    async fn add_marks(&mut self, marks: &[Mark]) -> Result<()>;

    /// Leaves a note that these facilities were registered, changed or removed.
    async fn note_facilities(&mut self, ids: &[Uuid]) -> Result<()>;

    /// Keeps statements about ids that have no row yet from racing with their removal: there is no
    /// row whose lock would do it.
    async fn reserve(&mut self, _set: &[Uuid], _removed: &[Uuid]) -> Result<()> {
        Ok(())
    }
    /// What is known of these entities, their rows locked in id order.
    async fn load(&mut self, kind: Kind, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>>;
    /// The facility of each blood bank that exists, without a lock.
    async fn bank_facilities(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>>;
    /// The facility of each of these banks, which stays theirs until the commit: whoever moves one
    /// waits for that. A bank that somebody changes right now is left out, and not waited for.
    async fn hold_banks(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>>;
    /// Writes entities of one kind. `StoreError::Conflict` where a row that `load` did not find is
    /// there by now.
    async fn put(&mut self, kind: Kind, rows: &[Put]) -> Result<()>;
    /// Removes entities and leaves tombstones.
    async fn remove(&mut self, kind: Kind, rows: &[Removal]) -> Result<()>;
    /// Where removed entities last counted, as their tombstones remember it.
    async fn last_counted(
        &mut self,
        kind: Kind,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, LastCounted>>;

    async fn commit(self: Box<Self>) -> Result<()>;
}

/// Connects by URL, applies the migrations, and answers the store.
pub async fn open(settings: &DatabaseSettings) -> Result<Arc<dyn Store>> {
    if settings.is_postgres() {
        Ok(Arc::new(postgres::PostgresStore::open(settings).await?))
    } else {
        Ok(Arc::new(sqlite::SqliteStore::open(settings).await?))
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Connections {
    pub in_use: u32,
    pub idle: u32,
    pub max: u32,
}

/// A migration's failure, in words that say what to do.
fn migrate_error(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::VersionMissing(version) => StoreError::Migration(format!(
            "the database has migration {version}, which this release does not know: it was used \
             by a newer release; start that one, or restore a backup"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "migration {version} was applied in another wording than this release has: the \
             database belongs to another build"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match StoreError::from(error) {
                unavailable @ (StoreError::Unavailable(_)
                | StoreError::Locked(_)
                | StoreError::Full(_)) => unavailable,
                other => StoreError::Migration(other.to_string()),
            }
        }
        other => StoreError::Migration(other.to_string()),
    }
}
