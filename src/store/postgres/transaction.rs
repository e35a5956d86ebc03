//! One writing transaction, READ COMMITTED: the snapshot of each statement is taken after the locks
//! of the statements before it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{
    PostgresStore,
    access::note_all,
    columns, date, entities, facility_rows, failing, json, marks,
    pool::{Borrowed, PrimaryPool},
    session::BEGIN,
    sources::SourceStatements,
    stored_days, text, written_rows,
};
use crate::{
    domain::{
        event::{EntityKind, Record},
        summary::{Bounds, DayKey, Key, Summary, SummaryRow},
    },
    store::{
        Cause, Derived, Difference, FacilityRow, FacilityState, FailingDay, LastCounted, Mark, Put,
        Removal, Result, StoreError, StoredDays, Transaction, access::AuditNote,
        source_triggers::TrustedSources,
    },
};

pub(super) struct PostgresTransaction {
    pub(super) tx: Borrowed,
    pool: PrimaryPool,
    /// The database's time when the last lock was held. The snapshot of every later statement is
    /// taken after it.
    locked_at_ms: Option<i64>,
    /// Known after the transaction has locked something.
    number: Option<Number>,
    trusted: Arc<TrustedSources>,
    statements: Arc<SourceStatements>,
}

/// The server's number of a transaction, and the timeline on which this number is valid.
struct Number {
    transaction: String,
    timeline: String,
}

/// How long to ask for the outcome of a commit after its answer was lost. A server that restarts is
/// back within this time.
const IN_DOUBT: Duration = Duration::from_secs(10);
/// How long a commit may take before its outcome is asked for. A commit that waits for a standby
/// takes as long as the standby.
pub(super) const COMMIT: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl PostgresTransaction {
    /// Begins one. With a mapping, errors with `Superseded` where another one counts; none takes
    /// over before the end of the transaction.
    pub(super) async fn begin(store: &PostgresStore, lock_timeout: Duration) -> Result<Self> {
        let most = store.mapping.as_ref().map_or(Duration::MAX, |mapping| mapping.most_lock_wait);
        let lock_timeout = lock_timeout.min(most);
        // All in one round trip. This transaction refreshes what it writes, so the triggers need
        // not mark it. They recognise it by its number, which no other session can have set.
        let mut begin = format!(
            "{BEGIN}; SET LOCAL lock_timeout = {}; SELECT \
             pg_catalog.set_config('facility_summary.refreshes', pg_current_xact_id()::text, true)",
            lock_timeout.as_millis().clamp(1, i32::MAX as u128)
        );
        if let Some(mapping) = &store.mapping {
            begin = format!("{begin}; {}", mapping.latest.hold());
        }
        let mut tx = store.pool.begin(begin).await?;
        if let Some(mapping) = &store.mapping {
            mapping.latest.check(&mut tx).await?;
        }
        Ok(PostgresTransaction {
            tx,
            pool: store.pool.clone(),
            locked_at_ms: None,
            number: None,
            trusted: store.trusted.clone(),
            statements: store.statements.clone(),
        })
    }

    async fn locked(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>> {
        let rows = sqlx::query(include_str!("../../../sql/postgres/lock.sql"))
            .bind(facilities)
            .fetch_all(&mut self.tx)
            .await?;
        for row in &rows {
            self.locked_at_ms = self.locked_at_ms.max(Some(row.try_get("locked_at_ms")?));
            self.number = Some(Number {
                transaction: row.try_get("transaction")?,
                timeline: row.try_get("timeline")?,
            });
        }
        rows.iter()
            .map(|r| {
                let today: Option<&str> = r.try_get("date")?;
                let today = today.map(|_| date(r)).transpose()?;
                Ok((
                    r.try_get("facility_id")?,
                    FacilityState {
                        version: r.try_get("version")?,
                        today,
                        removed_at_version: r.try_get("removed_at_version")?,
                    },
                ))
            })
            .collect()
    }

    /// An instant that is not later than the snapshot of the next statement. The timestamp of that
    /// statement cannot be used: the protocol takes the snapshot when parameters are bound, and the
    /// timestamp a moment later, when execution begins.
    async fn before_snapshot_ms(&mut self) -> Result<i64> {
        match self.locked_at_ms {
            Some(at_ms) => Ok(at_ms),
            None => Ok(sqlx::query_scalar(
                "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000.0)::bigint",
            )
            .fetch_one(&mut self.tx)
            .await?),
        }
    }
}

/// Finds the outcome of a transaction after its commit was sent and the connection broke. The
/// server remembers the outcome by the transaction's number. But a server that crashed, or that was
/// a standby until now, gives the numbers of transactions that it lost to new ones. So "committed"
/// counts only when the server is on the same timeline and has run without a break since
/// `locked_at_ms`: its checkpointer is restarted by every crash, but not by a promotion.
async fn resolve(
    pool: &PrimaryPool,
    number: &Number,
    locked_at_ms: i64,
    lost: Cause,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let ask = sqlx::query_as(include_str!("../../../sql/postgres/commit_status.sql"))
            .bind(&number.transaction)
            .bind(locked_at_ms)
            .bind(&number.timeline)
            .fetch_one(pool);
        let status: sqlx::Result<(Option<String>, bool)> =
            tokio::time::timeout(IN_DOUBT.saturating_sub(started.elapsed()), ask)
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut));
        match status.as_ref().map(|(status, unbroken)| (status.as_deref(), *unbroken)) {
            Ok((Some("committed"), true)) => return Ok(()),
            Ok((Some("committed"), false)) => return Err(StoreError::InDoubt(lost)),
            Ok((Some("aborted"), _)) => return Err(StoreError::Unavailable(lost)),
            // No transaction has this number since the crash, so this transaction is lost.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => {
                return Err(StoreError::Unavailable(lost));
            }
            _ if started.elapsed() >= IN_DOUBT => return Err(StoreError::InDoubt(lost)),
            _ => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn lock(&mut self, facilities: &[Uuid]) -> Result<HashMap<Uuid, FacilityState>> {
        let locked = self.locked(facilities).await?;
        if facilities.iter().all(|id| locked.contains_key(id)) {
            return Ok(locked);
        }
        sqlx::query(include_str!("../../../sql/postgres/add_states.sql"))
            .bind(facilities)
            .execute(&mut self.tx)
            .await?;
        self.locked(facilities).await
    }

    async fn open_days(&mut self, days: &[Key]) -> Result<()> {
        let (ids, dates) = columns(days);
        sqlx::query(include_str!("../../../sql/postgres/open_days.sql"))
            .bind(ids)
            .bind(dates)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn derive(&mut self, keys: &[DayKey]) -> Result<Vec<Derived>> {
        let as_of_ms = self.before_snapshot_ms().await?;
        let (ids, dates, starts, ends) = stored_days::key_columns(keys);
        let bounds: HashMap<Key, Bounds> =
            keys.iter().map(|key| (key.id(), Bounds::from(&key.day))).collect();
        let rows = sqlx::query(AssertSqlSafe(self.statements.derive.clone()))
            .bind(&ids)
            .bind(&dates)
            .bind(starts)
            .bind(ends)
            .fetch_all(&mut self.tx)
            .await?;
        if self.statements.is_mapped {
            self.statements.odd_rows.see(&ids, &dates, &rows)?;
        }
        rows.iter()
            .map(|r| {
                let version: Option<i64> = r.try_get("old_version")?;
                let key = Key { facility_id: r.try_get("facility_id")?, date: date(r)? };
                Ok(Derived {
                    row: SummaryRow {
                        summary: Summary {
                            facility_id: key.facility_id,
                            date: key.date,
                            total_stock: r.try_get("total_stock")?,
                            total_transferred: r.try_get("total_transferred")?,
                            total_requests: r.try_get("total_requests")?,
                            by_blood_type: json(r, "by_blood_type")?,
                            updated_at: r.try_get("old_updated_at_ms")?,
                            version: version.unwrap_or(0),
                        },
                        as_of_ms,
                        next_expires_at_ms: r.try_get("next_expires_at_ms")?,
                        bounds: bounds.get(&key).copied(),
                    },
                    stored: version.is_some(),
                    figures_differ: r.try_get("figures_differ")?,
                    day_differs: r.try_get("day_differs")?,
                    write_needed: r.try_get("write_needed")?,
                    is_today: r.try_get("is_today")?,
                    timezone: text(r, "timezone", "facilities", r.try_get("facility_id")?)?,
                })
            })
            .collect()
    }

    async fn stored_days(&mut self, keys: &[DayKey]) -> Result<StoredDays> {
        let as_of_ms = self.before_snapshot_ms().await?;
        stored_days::stored_days(&mut self.tx, keys, as_of_ms, &self.trusted).await
    }

    async fn audit(&mut self, keys: &[DayKey]) -> Result<Vec<Difference>> {
        stored_days::audit(&mut self.tx, &self.statements, keys).await
    }

    async fn write(&mut self, rows: &[SummaryRow], by_difference: &HashSet<Key>) -> Result<()> {
        let (sums, derived): (Vec<&SummaryRow>, Vec<&SummaryRow>) =
            rows.iter().partition(|row| by_difference.contains(&row.key()));
        if !derived.is_empty() {
            written_rows::put(&mut self.tx, &derived).await?;
            if self.statements.failing.get().days > 0 {
                failing::end(&mut self.tx, &derived).await?;
            }
        }
        if !sums.is_empty() {
            written_rows::update(&mut self.tx, &sums).await?;
        }
        Ok(())
    }

    async fn note_failing(&mut self, days: &[FailingDay]) -> Result<()> {
        failing::note(&mut self.tx, days).await
    }

    async fn facilities(&mut self, ids: &[Uuid]) -> Result<Vec<FacilityRow>> {
        facility_rows::facilities_now(&mut self.tx, &self.statements, ids).await
    }

    async fn remove_summaries(&mut self, facilities: &[Uuid]) -> Result<()> {
        if self.statements.is_mapped {
            sqlx::query(include_str!("../../../sql/postgres/keep_closed_stock.sql"))
                .bind(facilities)
                .execute(&mut self.tx)
                .await?;
        }
        sqlx::query(include_str!("../../../sql/postgres/remove_summaries.sql"))
            .bind(facilities)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn take_marks(&mut self, ids: &[i64]) -> Result<Vec<Mark>> {
        marks::take(&mut self.tx, ids).await
    }

    async fn add_marks(&mut self, marks: &[Mark]) -> Result<()> {
        marks::add(&mut self.tx, marks).await.map(drop)
    }

    async fn replace_marks(&mut self, ids: &[i64], by: &[Mark]) -> Result<Option<Vec<Mark>>> {
        let taken = marks::take(&mut self.tx, ids).await?;
        if taken.len() != ids.len() {
            return Ok(None);
        }
        marks::add(&mut self.tx, by).await.map(Some)
    }

    async fn note_facilities(&mut self, ids: &[Uuid]) -> Result<()> {
        sqlx::query(
            "INSERT INTO facility_outbox (facility_id) SELECT pg_catalog.unnest($1::uuid[])",
        )
        .bind(ids)
        .execute(&mut self.tx)
        .await?;
        Ok(())
    }

    async fn note_audit(&mut self, notes: &[AuditNote]) -> Result<()> {
        note_all(&mut self.tx, notes).await
    }

    async fn reserve(&mut self, set: &[Uuid], removed: &[Uuid]) -> Result<()> {
        let (buckets, exclusive): (Vec<i32>, Vec<bool>) = buckets(set, removed).into_iter().unzip();
        if !buckets.is_empty() {
            sqlx::query(include_str!("../../../sql/postgres/reserve.sql"))
                .bind(RESERVATIONS)
                .bind(buckets)
                .bind(exclusive)
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }

    async fn load(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>> {
        entities::load(&mut self.tx, kind, ids).await
    }

    async fn bank_facilities(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
        let rows = sqlx::query("SELECT id, facility_id FROM blood_banks WHERE id = ANY ($1)")
            .bind(banks)
            .fetch_all(&mut self.tx)
            .await?;
        rows.iter().map(|r| Ok((r.try_get("id")?, r.try_get("facility_id")?))).collect()
    }

    async fn hold_banks(&mut self, banks: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
        let rows = sqlx::query(include_str!("../../../sql/postgres/hold_banks.sql"))
            .bind(banks)
            .fetch_all(&mut self.tx)
            .await?;
        rows.iter().map(|r| Ok((r.try_get("id")?, r.try_get("facility_id")?))).collect()
    }

    async fn put(&mut self, kind: EntityKind, rows: &[Put]) -> Result<()> {
        entities::put(&mut self.tx, kind, rows).await
    }

    async fn remove(&mut self, kind: EntityKind, rows: &[Removal]) -> Result<()> {
        entities::remove(&mut self.tx, kind, rows).await
    }

    async fn last_counted(
        &mut self,
        kind: EntityKind,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, LastCounted>> {
        entities::last_counted(&mut self.tx, kind, ids).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let committed = self.tx.commit(COMMIT).await;
        match (committed.map_err(StoreError::from), self.number, self.locked_at_ms) {
            // A server that shuts down may report an error and still have committed.
            (Err(StoreError::Unavailable(error)), Some(number), Some(locked_at_ms)) => {
                tracing::warn!(
                    %error,
                    "the connection broke during a commit; asking what became of it"
                );
                resolve(&self.pool, &number, locked_at_ms, error).await
            }
            (committed, ..) => committed,
        }
    }
}

/// The class of our advisory locks ("fs" in ASCII). It keeps them apart from the locks of other
/// programs.
const RESERVATIONS: i32 = 0x6673;

/// There are few advisory locks, so ids share 256 of them. Of each that these ids have: whether an
/// id of it is removed. They are sorted, so that all transactions take them in the same order, and
/// none takes one twice.
fn buckets(set: &[Uuid], removed: &[Uuid]) -> BTreeMap<i32, bool> {
    let bucket = |id: &Uuid| {
        i32::from(id.as_bytes().iter().fold(0u8, |hash, byte| hash.rotate_left(1) ^ byte))
    };
    let shared = set.iter().map(|id| (bucket(id), false));
    // Of a bucket that occurs twice, the last one counts.
    shared.chain(removed.iter().map(|id| (bucket(id), true))).collect()
}
