//! A transaction. It holds the file's write lock from begin to end.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row, Sqlite};
use uuid::Uuid;

use super::{
    access::note_all,
    clock_ms, derive,
    file::DatabaseFile,
    parameter, row, sql, triggers,
    written::{self, EpochCounters},
};
use crate::{
    domain::{
        event::{EntityKind, Record},
        summary::{DayKey, Key, SummaryRow},
    },
    store::{
        Derived, Difference, Doubt, FacilityRow, FacilityState, LastCounted, Mark, Put, Removal,
        Result, StoreError, StoredDay, StoredDays, Transaction, access::AuditNote,
        source_triggers::TrustedSources,
    },
};

/// A transaction that writes. The triggers mark its writes like all others, but it refreshes these
/// figures itself before it commits. No other transaction adds marks while it holds the lock, so
/// the marks with an id above `newest_mark` are its own, and it deletes them.
pub struct SqliteTransaction {
    pub(super) inner: sqlx::Transaction<'static, Sqlite>,
    newest_mark: i64,
    known: Arc<EpochCounters>,
    /// The epoch's salt, and the number of rows that the outbox has had, including those of this
    /// transaction.
    written: (String, i64),
    file: Arc<DatabaseFile>,
    trusted: Arc<TrustedSources>,
    /// A row that `load` read held values that another program wrote with the checks off.
    has_read_in_part: bool,
}

impl SqliteTransaction {
    /// `StoreError::Conflict` when the file has gone back to an earlier state, until a drain
    /// snapshot has noticed that.
    pub async fn new(
        mut inner: sqlx::Transaction<'static, Sqlite>,
        known: Arc<EpochCounters>,
        file: Arc<DatabaseFile>,
        trusted: Arc<TrustedSources>,
    ) -> Result<Self> {
        let before = known.before();
        let written = written::rows(&mut inner).await?;
        if before.is_of_another(&written.0) || !known.goes_on(&before, &written.0, written.1) {
            return Err(StoreError::Conflict);
        }
        let mut transaction = SqliteTransaction {
            inner,
            newest_mark: 0,
            known,
            written,
            file,
            trusted,
            has_read_in_part: false,
        };
        transaction.keep_marks().await?;
        Ok(transaction)
    }

    /// Counts the marks that exist now as not this transaction's own. Called after every deletion,
    /// because SQLite gives the highest id again when its row is deleted.
    async fn keep_marks(&mut self) -> Result<()> {
        self.newest_mark = sqlx::query_scalar("SELECT ifnull(max(id), 0) FROM summary_marks")
            .fetch_one(&mut *self.inner)
            .await?;
        Ok(())
    }

    async fn erase_own_marks(&mut self) -> Result<()> {
        sqlx::query("DELETE FROM summary_marks WHERE id > $1")
            .bind(self.newest_mark)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Our own rows of the facilities that have one.
    async fn states(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>> {
        let rows = sqlx::query(sql!("lock"))
            .bind(parameter::ids(facilities))
            .fetch_all(&mut *self.inner)
            .await?;
        let mut states: HashMap<Uuid, FacilityState> = HashMap::with_capacity(facilities.len());
        for row in &rows {
            // Another program wrote a text that is not a date. The day is opened once more.
            let today: Option<jiff::civil::Date> = row
                .try_get::<Option<&str>, _>("date")
                .ok()
                .flatten()
                .and_then(|date| date.parse().ok());
            states.insert(
                row.try_get(0)?,
                FacilityState {
                    version: row.try_get(1)?,
                    today,
                    removed_at_version: row.try_get(3)?,
                },
            );
        }
        Ok(states)
    }

    /// Runs a statement with one JSON parameter.
    pub(super) async fn run(&mut self, statement: &'static str, rows: &str) -> Result<()> {
        sqlx::query(statement).bind(rows).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Runs a statement with one JSON parameter and a kind.
    async fn run_of_kind(
        &mut self,
        statement: &'static str,
        rows: &str,
        kind: EntityKind,
    ) -> Result<()> {
        sqlx::query(statement).bind(rows).bind(kind.as_str()).execute(&mut *self.inner).await?;
        Ok(())
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn lock(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>> {
        let mut states = self.states(facilities).await?;
        let new: Vec<Uuid> =
            facilities.iter().copied().filter(|id| !states.contains_key(id)).collect();
        if !new.is_empty() {
            self.run(sql!("insert_missing_states"), &parameter::ids(&new)).await?;
            states.extend(self.states(&new).await?);
        }
        Ok(states)
    }

    async fn open_days(&mut self, days: &[Key]) -> Result<()> {
        self.run(sql!("open_days"), &parameter::dates(days)).await
    }

    async fn derive(&mut self, keys: &[DayKey]) -> Result<Vec<Derived>> {
        let seen = derive::look(&mut self.inner, keys, clock_ms()).await?;
        Ok(seen.into_iter().map(|s| s.derived).collect())
    }

    async fn stored_days(&mut self, keys: &[DayKey]) -> Result<StoredDays> {
        self.erase_own_marks().await?;
        let now_ms = clock_ms();
        let is_watched = self.trusted.stamp().map(|stamp| stamp.to_string())
            == Some(triggers::fingerprint(&mut self.inner).await?);
        let doubt = match (is_watched, self.has_read_in_part) {
            (false, _) => Some(Doubt::Unwatched),
            (true, true) => Some(Doubt::Unreadable),
            (true, false) => None,
        };
        let mut found = StoredDays { now_ms, as_of_ms: now_ms, doubt, days: Vec::new() };
        if doubt.is_some() {
            return Ok(found);
        }
        let ids: Vec<Key> = keys.iter().map(DayKey::id).collect();
        let rows = sqlx::query(sql!("stored_days"))
            .bind(parameter::dates(&ids))
            .fetch_all(&mut *self.inner)
            .await?;
        for row in &rows {
            // One that cannot be read is derived anew.
            let Ok(stored) = row::readable_summary(row) else { continue };
            found.days.push(StoredDay {
                timezone: row::text(row, 12, "facilities", stored.summary.facility_id)?,
                is_marked: row.try_get(13)?,
                row: stored,
            });
        }
        Ok(found)
    }

    async fn audit(&mut self, keys: &[DayKey]) -> Result<Vec<Difference>> {
        self.erase_own_marks().await?;
        derive::audit(&mut self.inner, keys, clock_ms()).await
    }

    async fn write(&mut self, rows: &[SummaryRow], by_difference: &HashSet<Key>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = parameter::summaries(rows, by_difference);
        self.run(sql!("write_summaries"), &rows).await?;
        self.run(sql!("write_versions"), &rows).await?;
        self.run(sql!("write_outbox"), &rows).await?;
        self.written = written::rows(&mut self.inner).await?;
        Ok(())
    }

    async fn facilities(&mut self, ids: &[Uuid]) -> Result<Vec<FacilityRow>> {
        let rows = sqlx::query(sql!("facilities"))
            .bind(parameter::ids(ids))
            .fetch_all(&mut *self.inner)
            .await?;
        row::readable(&rows, 0, "facilities", row::facility)
    }

    async fn remove_summaries(&mut self, facilities: &[Uuid]) -> Result<()> {
        let ids = parameter::ids(facilities);
        self.run(sql!("end_life"), &ids).await?;
        self.run(sql!("remove_summaries"), &ids).await
    }

    async fn take_marks(&mut self, ids: &[i64]) -> Result<Vec<Mark>> {
        self.erase_own_marks().await?;
        let taken = sqlx::query(sql!("take_marks"))
            .bind(parameter::numbers(ids))
            .fetch_all(&mut *self.inner)
            .await?;
        self.keep_marks().await?;
        taken.iter().map(row::mark).collect()
    }

    async fn add_marks(&mut self, marks: &[Mark]) -> Result<()> {
        self.erase_own_marks().await?;
        self.run(sql!("add_marks"), &parameter::marks(marks)).await?;
        self.keep_marks().await
    }

    async fn note_facilities(&mut self, ids: &[Uuid]) -> Result<()> {
        let note =
            "INSERT INTO facility_outbox (facility_id) SELECT unhex(value) FROM json_each($1)";
        self.run(note, &parameter::ids(ids)).await
    }

    async fn note_audit(&mut self, notes: &[AuditNote]) -> Result<()> {
        note_all(&mut self.inner, notes).await
    }

    async fn load(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>> {
        let ids = parameter::ids(ids);
        let removed = sqlx::query(sql!("load_tombstones"))
            .bind(&ids)
            .bind(kind.as_str())
            .fetch_all(&mut *self.inner)
            .await?;
        let mut records: HashMap<Uuid, Record> = HashMap::with_capacity(removed.len());
        for row in &removed {
            records
                .insert(row.try_get(0)?, Record { event_time_ms: row.try_get(1)?, entity: None });
        }
        // The row wins when another program inserted it again beside the tombstone.
        for row in &sqlx::query(load(kind)).bind(&ids).fetch_all(&mut *self.inner).await? {
            self.has_read_in_part |= !row::is_whole(kind, row)?;
            records.extend([row::record(kind, row)?]);
        }
        Ok(records)
    }

    async fn bank_facilities(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
        let rows = sqlx::query(sql!("bank_facilities"))
            .bind(parameter::ids(banks))
            .fetch_all(&mut *self.inner)
            .await?;
        Ok(row::readable(&rows, 1, "blood_banks", |row| Ok((row.try_get(0)?, row.try_get(1)?)))?
            .into_iter()
            .collect())
    }

    async fn hold_banks(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
        self.bank_facilities(banks).await // no other transaction writes meanwhile
    }

    async fn put(&mut self, kind: EntityKind, rows: &[Put]) -> Result<()> {
        let of_kind: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let new: Vec<Uuid> = rows.iter().filter(|row| row.is_new).map(|row| row.id).collect();
        if !new.is_empty() {
            let there = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE id IN (SELECT unhex(value) FROM \
                 json_each($1)))",
                table(kind)
            );
            let query = sqlx::query_scalar(AssertSqlSafe(there)).bind(parameter::ids(&new));
            if query.fetch_one(&mut *self.inner).await? {
                return Err(StoreError::Conflict);
            }
        }
        self.run(put(kind), &parameter::entities(rows)).await?;
        self.run_of_kind(sql!("forget_tombstones"), &parameter::ids(&of_kind), kind).await
    }

    async fn last_counted(
        &mut self,
        kind: EntityKind,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, LastCounted>> {
        let query = sqlx::query(sql!("last_counted")).bind(parameter::ids(ids)).bind(kind.as_str());
        let rows = query.fetch_all(&mut *self.inner).await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.try_get(0)?,
                    LastCounted { facility_id: row.try_get(1)?, at_ms: row.try_get(2)? },
                ))
            })
            .collect()
    }

    async fn remove(&mut self, kind: EntityKind, rows: &[Removal]) -> Result<()> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let delete = format!(
            "DELETE FROM {} WHERE id IN (SELECT unhex(value) FROM json_each($1))",
            table(kind)
        );
        sqlx::query(AssertSqlSafe(delete))
            .bind(parameter::ids(&ids))
            .execute(&mut *self.inner)
            .await?;
        self.run_of_kind(sql!("put_tombstones"), &parameter::removals(rows), kind).await
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.erase_own_marks().await?;
        self.inner.commit().await?;
        // The commit must not be reported as durable when the file that holds it is gone.
        self.file.check()?;
        self.known.note(&self.written.0, self.written.1);
        Ok(())
    }
}

pub(super) const fn table(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Facility => "facilities",
        EntityKind::BloodBank => "blood_banks",
        EntityKind::Inventory => "blood_inventory",
        EntityKind::Distribution => "blood_distributions",
        EntityKind::Request => "blood_requests",
    }
}

const fn load(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Facility => sql!("load_facility"),
        EntityKind::BloodBank => sql!("load_blood_bank"),
        EntityKind::Inventory => sql!("load_inventory"),
        EntityKind::Distribution => sql!("load_distribution"),
        EntityKind::Request => sql!("load_request"),
    }
}

const fn put(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Facility => sql!("put_facility"),
        EntityKind::BloodBank => sql!("put_blood_bank"),
        EntityKind::Inventory => sql!("put_inventory"),
        EntityKind::Distribution => sql!("put_distribution"),
        EntityKind::Request => sql!("put_request"),
    }
}
