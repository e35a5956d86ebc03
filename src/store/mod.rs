//! The database as the rest of the service sees it: one trait with two implementations (`postgres`,
//! `sqlite`) that behave the same (`tests/api/store_contract.rs` runs on both). The statements are
//! in `sql/`, the tables in `migrations/`. Which days to refresh, versions and freshness do not
//! belong here; `service` decides them.

pub mod access;
mod derived;
mod drain_snapshot;
mod entity_rows;
mod epoch;
mod error;
mod facility_rows;
pub mod failing;
pub mod imports;
mod job_queue;
mod kept_connection;
mod marks;
mod odd_row;
mod owners_check;
pub mod people;
pub mod postgres;
mod source_change;
mod source_triggers;
pub mod sqlite;
mod stored_days;
mod tables;
pub mod unreadable;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    config::{DatabaseSettings, sources::SourcesSettings},
    domain::{
        event::{EntityKind, Record},
        summary::{DayKey, Key, SummaryRow},
    },
    protocol::{Epoch, Watermark},
};
pub use derived::{Derived, Difference};
pub use drain_snapshot::{DrainSnapshot, NoticedMarks, OutboxCounters};
pub use entity_rows::{LastCounted, Put, Removal};
pub use epoch::{FacilitiesRead, TableRead};
pub use error::{Cause, MORE_CONNECTIONS, StoreError, said};
pub use facility_rows::{FacilityRow, FacilityState};
pub use failing::{FailingDay, FailingDays};
pub use job_queue::{JobQueue, JobRun};
pub use marks::{Mark, MarkKind, Marks, Span};
pub use odd_row::OddRow;
pub use owners_check::{CheckReport, OtherFigure};
use people::PeopleStore;
pub use source_change::{SourceChange, SourceLag, SourceState};
pub use source_triggers::{TriggerOff, Triggers};
pub use stored_days::{Doubt, StoredBounds, StoredDay, StoredDays};

/// The result of a database operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Reads outside any transaction, and the begin of a transaction.
#[async_trait]
pub trait Store:
    JobQueue
    + imports::ImportLog
    + access::AccessStore
    + PeopleStore
    + failing::FailingLog
    + source_triggers::SourceWatch
    + Send
    + Sync
    + 'static
{
    /// The database's clock, in milliseconds since 1970. Costs a round trip.
    async fn now_ms(&self) -> Result<i64>;
    /// All facilities, or those of `ids` that exist, and the epoch of the server that answered.
    async fn facilities(&self, ids: Option<&[Uuid]>) -> Result<FacilitiesRead>;
    /// The facilities that have summaries although they do not exist.
    async fn orphans(&self) -> Result<Vec<Uuid>>;
    /// The stored rows of these keys and the stored watermark, in one statement.
    async fn summaries(&self, keys: &[Key]) -> Result<TableRead>;
    /// Of which day each stored row of these keys is, where that date is the one that is open at
    /// the facility (`FacilityState::today`). It reads less than `summaries`. Keys without a row,
    /// rows that cannot be read, and rows of other dates are left out.
    async fn stored_bounds(&self, keys: &[Key]) -> Result<Vec<StoredBounds>>;
    /// Like `summaries`, from a standby. The rows are as old as the standby's replay, which their
    /// watermark shows. `None` when no standby is configured, or none answers.
    async fn summaries_on_standby(&self, _keys: &[Key]) -> Option<TableRead> {
        None
    }
    /// The version counter of a facility: the greatest version that was committed for one of its
    /// days; 0 where there is none.
    async fn version(&self, facility: Uuid) -> Result<i64>;
    /// The days of these facilities that have a stored row.
    async fn stored_dates(&self, facilities: &[Uuid]) -> Result<Vec<Key>>;
    /// The times of deliveries and requests: a span for each facility and UTC day.
    async fn activity(&self, facilities: &[Uuid]) -> Result<Vec<Span>>;
    /// The days with figures that expire at or before `until_ms` (milliseconds), the soonest first,
    /// at most `limit`.
    async fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<Key>>;
    /// Takes a drain snapshot: the marks, the unpublished changes, the overdue expiries and the
    /// state that all servers share, all in one snapshot. Each list has `limit` entries at most.
    /// Only a server takes one: from its first drain snapshot until `close` it counts as a server.
    async fn drain_snapshot(&self, limit: usize) -> Result<DrainSnapshot>;
    /// Whether the last drain snapshot showed that another server was started later with another
    /// mapping. Everything that would read mapped tables then errs with `StoreError::Superseded`.
    fn is_superseded(&self) -> bool {
        false
    }
    /// States that this server publishes into the stream between replicas, and counts among the
    /// servers that do. Called before the first drain snapshot.
    fn join_stream(&self) {}
    /// The keys with a stored row that differs from its sources, all in one snapshot. Writes
    /// nothing and takes no lock.
    async fn audit(&self, keys: &[DayKey]) -> Result<Vec<Difference>>;
    /// Stores a watermark that was proven in this epoch, after the drain snapshot that proved it.
    /// Returns false, and stores nothing, when the database is now in another epoch, or holds a
    /// watermark that is as late, or when the connection of that snapshot was lost.
    async fn store_watermark(&self, watermark: &Watermark, epoch: &Epoch) -> Result<bool>;
    /// Begins the generation of the stream that follows `after`, and returns its number. No other
    /// caller has ever got this number. `StoreError::Conflict` when another server has begun it
    /// already.
    async fn begin_generation(&self, after: i64) -> Result<i64>;
    /// Ends the epoch `old`, unless another server has ended it. The next drain snapshot shows
    /// another epoch, without a watermark. Its versions are greater than all that any epoch has
    /// given out.
    async fn begin_epoch(&self, old: &Epoch) -> Result<()>;
    /// Makes our table of facilities equal to the mapped ones, and then deletes these marks.
    /// Returns whether anything had changed: then there are new marks.
    async fn follow_mapped_facilities(&self, _marks: &[i64]) -> Result<bool> {
        Ok(false)
    }
    /// Puts marks of every facility in the place of the spare ones that triggers on mapped tables
    /// left.
    async fn take_spare_marks(&self) -> Result<()> {
        Ok(())
    }
    /// The oldest marks, at most `limit`. For a command: it is not a server, and no drain snapshot
    /// counts it as one.
    async fn marks(&self, limit: usize) -> Result<Marks>;
    /// Deletes rows of both outboxes (`DrainSnapshot::outbox` and `changed_facilities`) that were
    /// published in the generation of the drain snapshot that showed them. Returns false, and
    /// deletes nothing, when the connection of that snapshot was lost.
    async fn forget_published(&self, outbox: &[i64], facilities: &[i64]) -> Result<bool>;
    /// Deletes the outbox rows of a day except that of its last version: it is enough to publish
    /// the last one.
    async fn compact_outbox(&self) -> Result<()>;
    /// Stores the `Triggers::fingerprint` of triggers that are complete, and leaves a mark of
    /// everything in the same transaction. Does neither when this fingerprint is stored already.
    /// `None` forgets it, without a mark: triggers are off, and may come back as they were.
    async fn note_triggers(&self, fingerprint: Option<&str>) -> Result<()>;
    /// Restores all triggers that are missing, off or altered. Returns false when there were none.
    /// Needs the rights of the tables' owner. On Postgres it waits for transactions that write
    /// these tables.
    async fn restore_triggers(&self) -> Result<bool>;
    /// Deletes tombstones of events before `tombstones_before_ms`, and ended runs that began before
    /// `runs_before_ms`. The latest run of each job stays. Both in milliseconds since 1970.
    async fn prune(&self, tombstones_before_ms: i64, runs_before_ms: i64) -> Result<()>;

    /// Begins a transaction that writes. It waits `lock_timeout` at most for a lock that another
    /// transaction holds, then fails with `StoreError::Locked`.
    async fn begin(&self, lock_timeout: Duration) -> Result<Box<dyn Transaction>>;

    /// What the owner of mapped tables has changed in them since the mapping was first used, or
    /// accepted, and how far they are behind.
    async fn source_state(&self) -> Result<SourceState> {
        Ok(SourceState::default())
    }

    /// Compares figures with the queries of `[[sources.check]]`. `day` gives the day of that date
    /// at a facility, if the directory knows the facility and it has such a day. Writes nothing.
    async fn owners_check(
        &self,
        _day: &(dyn Fn(Uuid, jiff::civil::Date) -> Option<DayKey> + Sync),
    ) -> Result<CheckReport> {
        Ok(CheckReport::default())
    }

    /// The connections of each pool (`primary`, and `read` when there is one), for the metrics.
    fn connections(&self) -> Vec<(&'static str, Connections)>;
    /// How many writing transactions gain from running at the same time.
    fn writers(&self) -> usize;
    /// What is wrong with the database, and how to repair it, when that is known.
    fn remedy(&self) -> Option<String> {
        None
    }
    /// The rows of mapped tables that do not count, of the days that this process derived last.
    fn odd_rows(&self) -> Vec<OddRow> {
        Vec::new()
    }
    /// What the service does without on this server, each with what is lost by it: it goes on.
    fn limits(&self) -> &[String] {
        &[]
    }
    /// `sqlite` or `postgres`.
    fn dialect(&self) -> &'static str;
    /// Closes all connections. This process no longer counts as a server.
    async fn close(&self);
}

/// One transaction that writes: for events, refreshes and the drain. It is rolled back when it is
/// dropped without a commit.
#[async_trait]
pub trait Transaction: imports::ImportNotes + Send {
    /// Locks our own row of each facility, in the order of ids, and returns the rows. A missing row
    /// is created.
    async fn lock(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>>;
    /// Stores the day that each of these facilities has opened. They must be locked.
    async fn open_days(&mut self, days: &[Key]) -> Result<()>;
    /// Derives these days from their sources in one statement. Its snapshot is taken after the
    /// lock. Leaves out facilities that do not exist. Leaves out days that have not begun, except
    /// those with a row, which is from another zone.
    async fn derive(&mut self, keys: &[DayKey]) -> Result<Vec<Derived>>;
    /// The stored rows of these days, and what decides whether a difference may be added to them,
    /// in one statement. Its snapshot is taken after all locks so far.
    async fn stored_days(&mut self, keys: &[DayKey]) -> Result<StoredDays>;
    /// Writes rows, the counters of their versions, and an outbox row for each. Notes which of them
    /// were not derived: a difference was added to them. Those have a row: `Conflict` where not.
    async fn write(&mut self, rows: &[SummaryRow], by_difference: &HashSet<Key>) -> Result<()>;
    /// Like `Store::audit`, with what this transaction has written.
    async fn audit(&mut self, keys: &[DayKey]) -> Result<Vec<Difference>>;
    /// The facilities in the snapshot of this statement, which is taken after all locks so far.
    /// Those that do not exist are left out.
    async fn facilities(&mut self, ids: &[Uuid]) -> Result<Vec<FacilityRow>>;
    /// Deletes the rows of removed facilities, and stores the version counter of each: the versions
    /// up to it belong to the former life. The facilities must be locked.
    async fn remove_summaries(&mut self, facilities: &[Uuid]) -> Result<()>;

    /// Deletes exactly these marks, and returns those that still existed.
    async fn take_marks(&mut self, ids: &[i64]) -> Result<Vec<Mark>>;
    /// Writes marks.
    async fn add_marks(&mut self, marks: &[Mark]) -> Result<()>;
    /// Writes these marks in the place of others, which it deletes, and returns them with their
    /// ids. `None`, and nothing is to be committed, where one of the others is gone.
    async fn replace_marks(&mut self, _ids: &[i64], _by: &[Mark]) -> Result<Option<Vec<Mark>>> {
        Ok(None)
    }

    /// Notes days whose mapped rows cannot be counted. Writing a row of such a day ends that.
    async fn note_failing(&mut self, _days: &[FailingDay]) -> Result<()> {
        Ok(())
    }

    /// Writes a note for each of these facilities: it was registered, changed or removed.
    async fn note_facilities(&mut self, ids: &[Uuid]) -> Result<()>;

    /// Adds entries to the audit log, which tell what this transaction does.
    async fn note_audit(&mut self, notes: &[access::AuditNote]) -> Result<()>;

    /// Prevents that an event about an id without a row, and the removal of that id, run at the
    /// same time. No row lock can do this, as there is no row. Called at most once, with all ids,
    /// and before any row is locked: two transactions would wait for each other otherwise.
    async fn reserve(&mut self, _set: &[Uuid], _removed: &[Uuid]) -> Result<()> {
        Ok(())
    }
    /// Reads these entities, and locks their rows in the order of ids.
    async fn load(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>>;
    /// The facility of each blood bank that exists. Takes no lock.
    async fn bank_facilities(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>>;
    /// The facility of each of these banks. The bank stays there until the commit: a transaction
    /// that moves it waits. A bank that another transaction is changing is left out, without a
    /// wait.
    async fn hold_banks(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>>;
    /// Writes entities of one kind. `StoreError::Conflict` when a row that `load` did not find
    /// exists now.
    async fn put(&mut self, kind: EntityKind, rows: &[Put]) -> Result<()>;
    /// Removes entities and leaves tombstones.
    async fn remove(&mut self, kind: EntityKind, rows: &[Removal]) -> Result<()>;
    /// Where removed entities counted last, from their tombstones.
    async fn last_counted(
        &mut self,
        kind: EntityKind,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, LastCounted>>;

    /// Commits. After `StoreError::InDoubt` the commit may have taken place.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// Connects to `settings.url`, applies the migrations, and returns the store. With `sources`, the
/// figures come from the tables that it maps (Postgres only).
pub async fn open(
    settings: &DatabaseSettings,
    sources: Option<&SourcesSettings>,
) -> Result<Arc<dyn Store>> {
    if settings.is_postgres() {
        Ok(Arc::new(postgres::PostgresStore::open(settings, sources).await?))
    } else {
        Ok(Arc::new(sqlite::SqliteStore::open(settings).await?))
    }
}

/// Whether the database has tables of ours. Unlike [`open`], it makes nothing: no file, and no
/// table.
pub async fn has_tables(settings: &DatabaseSettings) -> Result<bool> {
    if settings.is_postgres() {
        postgres::home::has_tables(settings).await
    } else {
        Ok(sqlite::open::has_file(settings))
    }
}

/// How many connections a pool has now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connections {
    /// Connections that are in use.
    pub in_use: u32,
    /// Open connections that are not in use.
    pub idle: u32,
    /// The most connections that the pool opens.
    pub max: u32,
}

/// The error of a migration, with what to do about it.
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
