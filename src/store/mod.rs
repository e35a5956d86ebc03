//! The database, as the rest of the service sees it: one trait, two dialects (`postgres.rs`,
//! `sqlite.rs`), one behaviour (`tests/api/store_contract.rs` runs on both). The statements lie in
//! `sql/`, the tables in `migrations/`. What does not belong here: which days to refresh, versions,
//! freshness. Those are decided in `service`.

mod epoch;
mod error;
pub mod imports;
pub mod postgres;
pub mod sqlite;
mod tables;
pub mod unreadable;

use crate::domain::summary::Key;
use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    config::DatabaseSettings,
    domain::{
        event::{Entity, Kind, Record},
        summary::{DayKey, SummaryRow},
    },
    protocol::{Epoch, Watermark},
};
pub use epoch::TableRead;
pub use error::StoreError;

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Reads outside any transaction, and the way into one.
#[async_trait]
pub trait Store: imports::ImportLog + Send + Sync + 'static {
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

    /// Puts a run of a job in line, once a tick: false where that tick, or a later one, is there
    /// already.
    async fn enqueue_run(&self, run: Uuid, job: &str, tick_ms: i64) -> Result<bool>;
    /// Takes up the run of one of `jobs` (or `only` that one) that is in line for longest, for
    /// exactly one caller: it waits, or its heart has not beaten for `abandoned_after`. `None`
    /// while any run of the jobs `apart` lives.
    async fn take_run(
        &self,
        apart: &[&str],
        jobs: &[&str],
        only: Option<Uuid>,
        abandoned_after: Duration,
    ) -> Result<Option<JobRun>>;
    /// Ends, as failed, earlier ticks of `job` that nobody carries out, and runs that died with
    /// their `command`.
    async fn give_up_runs(
        &self,
        job: &str,
        before_tick_ms: i64,
        command: &str,
        abandoned_after: Duration,
    ) -> Result<()>;
    /// Beats a run's heart; false where the run is no longer the caller's.
    async fn beat_run(&self, run: &JobRun) -> Result<bool>;
    /// Stores a run's progress and beats its heart; false where the run is no longer the caller's,
    /// or has ended.
    async fn update_run(&self, run: &JobRun) -> Result<bool>;
    /// The first run of a job that waits to be taken up.
    async fn waiting_run(&self, job: &str) -> Result<Option<JobRun>>;
    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>>;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilityRow {
    pub id: Uuid,
    pub name: String,
    pub timezone: String,
    /// The version counter when the facility was removed last, for one that has come back: up to
    /// it, versions are of its former life. 0 for one that was never removed.
    pub removed_at_version: i64,
}

impl FacilityRow {
    /// A facility that was never removed.
    pub fn new(id: Uuid, name: String, timezone: String) -> Self {
        FacilityRow { id, name, timezone, removed_at_version: 0 }
    }
}

/// Our own row of a facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FacilityState {
    /// The counter that versions come from.
    pub version: i64,
    /// The day opened last: after a change of zone that may be a later one than today.
    pub today: Option<Date>,
    /// What the counter was when the facility was removed last.
    pub removed_at_version: i64,
}

/// What only rises as long as the database goes on from where it was. Numbers that are lower than
/// they were tell of a backup that was put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Rows that were ever put into the outbox.
    pub rows: i64,
    /// A transaction of ours, or this look, has found fewer than there had been.
    pub has_gone_back: bool,
    /// What versions are greater than in this history; each that is begun has a greater number
    /// than all before it.
    pub versions_from: i64,
    /// The server's next transaction; 0 where they have no numbers.
    pub transactions: i64,
    /// When the server was started. Another one may have other files.
    pub server_since_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub facility_id: Uuid,
    pub first_ms: i64,
    pub last_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// The facility's stock changed.
    Stock,
    /// Deliveries or requests changed between two instants, or at any time where there are none.
    Activity,
    /// The facility was registered, renamed, moved to another zone, or removed.
    Facility,
}

impl MarkKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            MarkKind::Stock => "stock",
            MarkKind::Activity => "activity",
            MarkKind::Facility => "facility",
        }
    }

    /// An unknown kind, from a newer release, is read as the widest.
    pub fn parse(text: &str) -> Self {
        match text {
            "stock" => MarkKind::Stock,
            "activity" => MarkKind::Activity,
            _ => MarkKind::Facility,
        }
    }
}

/// A trace that a trigger left in its writer's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub id: i64,
    pub kind: MarkKind,
    /// `None`: every facility.
    pub facility_id: Option<Uuid>,
    /// First and last instant touched; `None`: all time.
    pub span: Option<(i64, i64)>,
    /// Whose units changed. The bank may be in another facility by now than it was for the
    /// trigger.
    pub blood_bank_id: Option<Uuid>,
}

/// The triggers on the source tables that leave marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// Those that leave none, or not of every writer; where there are any, writes pass unseen.
    pub off: Vec<TriggerOff>,
    /// Another after every change of one of them, also where that was taken back. Changes of other
    /// things may change it, too.
    pub fingerprint: String,
    /// What it was when last all that had been written before was made sure of.
    pub seen: Option<String>,
    /// What puts right what is off: an SQL statement, or a command.
    pub remedy: String,
}

impl Triggers {
    /// Whether whatever was committed before the look has left its marks.
    pub fn are_trusted(&self) -> bool {
        self.off.is_empty() && self.seen.as_ref() == Some(&self.fingerprint)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOff {
    pub table: String,
    pub trigger: String,
    /// `missing`, `disabled`, `enabled_otherwise` (for other writers than it should be), `altered`
    /// (it, or its function, is not what we made); of all triggers of a table that no trigger
    /// can watch as a whole, `is_no_ordinary_table` or `has_inheriting_tables`.
    pub why: String,
}

/// Marks without the rest of a look.
#[derive(Debug, Default)]
pub struct Marks {
    pub all: Vec<Mark>,
    /// As in `DrainSnapshot`.
    pub strays: Vec<(i64, Option<Uuid>)>,
}

/// What is visible at `at_ms`; everything committed up to then is in it.
#[derive(Debug)]
pub struct DrainSnapshot {
    pub at_ms: i64,
    pub marks: Vec<Mark>,
    /// Of these marks, by their ids, those whose blood bank is in another facility than they name,
    /// and in which one; `None`: the bank is gone, or was never there.
    pub strays: Vec<(i64, Option<Uuid>)>,
    pub triggers: Triggers,
    /// (id, facility, date, version) of rows committed and not yet known to be published.
    pub outbox: Vec<(i64, Uuid, Date, i64)>,
    /// (id, facility) of facilities registered, changed or removed, and not yet known to be
    /// published.
    pub changed_facilities: Vec<(i64, Uuid)>,
    /// A stored row's figures have expired by `at_ms`.
    pub expiry_due: bool,
    pub epoch: Epoch,
    /// Of the change stream; 0 where there has never been one between servers.
    pub generation: i64,
    /// The watermark stored last, if that was in this epoch.
    pub stored_watermark: Option<Watermark>,
    pub written: Written,
    /// The latest instant as of which a scheduled or full rebuild made sure that all that it looks
    /// at is right.
    pub verified_through_ms: Option<i64>,
    /// Servers on this database, this one included.
    pub servers: u64,
    /// Those of them that publish nothing into the stream between replicas.
    pub off_stream: u64,
    /// This server counts as one only since this look, for the first time or after its connection
    /// was lost: others may have come and gone.
    pub arrived: bool,
    /// One server of all leads, and drains for them; on SQLite the only one.
    pub leads: bool,
}

/// Figures as their sources have them now, beside what is stored.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The figures and when they expire, with the stored version and `updated_at` (0 and `None`
    /// where no row is stored).
    pub row: SummaryRow,
    pub stored: bool,
    /// A figure differs from the stored row, or a row is to be opened.
    pub figures_differ: bool,
    /// The stored row is of another zone's day of that name.
    pub day_differs: bool,
    /// The row is to be written: a figure, its next expiry or its day differs.
    pub write_needed: bool,
    pub is_today: bool,
    /// The zone as the snapshot has it: where it is not the key's, the key's bounds are wrong.
    pub timezone: String,
}

/// A stored row that is not what its sources say.
#[derive(Debug, Clone)]
pub struct Difference {
    pub facility_id: Uuid,
    pub date: Date,
    pub stored: Option<[Option<i64>; 3]>,
    pub derived: [Option<i64>; 3],
    /// A mark was visible, or an expiry due: the difference is known and on its way. Otherwise it
    /// is drift.
    pub explained: bool,
    pub figures_differ: bool,
    pub at_ms: i64,
}

/// An entity to write; `is_new` where `load` found no row.
#[derive(Debug, Clone)]
pub struct Put {
    pub id: Uuid,
    pub event_time_ms: i64,
    pub entity: Entity,
    pub is_new: bool,
}

/// An entity to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    pub id: Uuid,
    pub event_time_ms: i64,
    pub last_counted: Option<LastCounted>,
}

/// The facility in whose figures a removed entity counted, and the instant that tells the day;
/// `None` for today's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCounted {
    pub facility_id: Uuid,
    pub at_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub id: Uuid,
    pub job: String,
    /// `waiting`, `running`, `done` or `failed`.
    pub state: String,
    /// When this attempt was begun: it tells an attempt from the one that takes it over.
    pub started_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    /// Facilities to do and done; rows changed and found drifted.
    pub total: i64,
    pub done: i64,
    pub changed: i64,
    pub drift: i64,
    pub error: Option<String>,
    /// The instant as of which it found or made right all that it looked at; `None` unless `done`.
    pub verified_through_ms: Option<i64>,
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
