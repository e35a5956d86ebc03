//! A mapping on the database that it maps: whether it fits this installation.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr};
use uuid::Uuid;

use super::{
    SourceStatements, figures, keys,
    latest::{self, Latest},
    mirror, misfit,
    notice::{self, Noticing},
    shape::Shape,
};
use crate::{
    config::{
        DatabaseSettings,
        sources::{FacilitySource, SourcesSettings},
    },
    store::{
        Result, SourceChange, StoreError,
        access::AuditNote,
        postgres::{
            access, connect,
            home::Home,
            pool::PrimaryPool,
            server_registry::SnapshotAnswer,
            session::{BEGIN, MOST_WAIT_MS},
            triggers,
        },
        said,
    },
};

/// The time between two tries at tables that the owner has locked.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A mapping that fits its database.
#[derive(Debug)]
pub(in crate::store::postgres) struct Mapping {
    /// Where the facilities are.
    pub facilities: FacilitySource,
    /// Part of the ids of facilities whose keys are no UUIDs.
    pub namespace: Uuid,
    /// The `classid` of the advisory locks of this installation.
    pub lock_class: i32,
    /// How writes of the owner's programs are noticed.
    pub noticing: Noticing,
    /// The facilities that our table cannot follow, each with the reason.
    pub left: Mutex<Vec<String>>,
    /// Whether this mapping counts, or that of another server.
    pub latest: Latest,
    /// The most time that a transaction which reads the owner's tables waits for a lock.
    pub most_lock_wait: Duration,
}

impl Mapping {
    /// [`Mapping::prepare`], again and again while the owner's tables are locked, for as long as a
    /// statement may take.
    pub async fn patiently(
        connection: &mut PgConnection,
        settings: &DatabaseSettings,
        sources: Option<&SourcesSettings>,
        schema: &str,
        lock_class: i32,
    ) -> Result<Option<Self>> {
        let (began, patience) =
            (Instant::now(), Duration::from_millis(settings.statement_timeout_ms));
        loop {
            match Mapping::prepare(&mut *connection, sources, schema, lock_class).await {
                Err(StoreError::Locked(_)) if began.elapsed() < patience => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                prepared => return prepared,
            }
        }
    }

    /// Checks that the facilities of this installation come from where `sources` says, and makes
    /// the table of keys unless it is there. `None` without a mapping.
    ///
    /// # Errors
    /// `Mapping`: the installation has facilities of its own and now gets a mapping, or the other
    /// way round; or the mapping does not fit the database, with what the server says.
    async fn prepare(
        connection: &mut PgConnection,
        sources: Option<&SourcesSettings>,
        schema: &str,
        lock_class: i32,
    ) -> Result<Option<Self>> {
        let (is_mapped, has_facilities): (bool, bool) = sqlx::query_as(
            "SELECT to_regclass('facility_key') IS NOT NULL, EXISTS (SELECT 1 FROM facilities)",
        )
        .fetch_one(&mut *connection)
        .await?;
        let Some(sources) = sources else {
            return if is_mapped { Err(needs_sources()) } else { Ok(None) };
        };
        if has_facilities && !is_mapped {
            return Err(has_its_own());
        }
        if !is_mapped {
            keys::make(connection, sources).await?;
        }
        sqlx::query(
            "INSERT INTO server_zone SELECT DISTINCT lower(name COLLATE pg_catalog.\"C\") FROM \
             pg_timezone_names ON CONFLICT DO NOTHING",
        )
        .execute(&mut *connection)
        .await?;
        refuse_other_facilities(connection, &sources.facilities).await?;
        let fit = async {
            if let Some(change) = keys::fit(&mut *connection, sources).await? {
                tracing::warn!(change, "the owner has changed the type of the keys");
            }
            check_fit(&mut *connection, sources).await
        };
        match fit.await {
            // The figures that are stored are served on, with their age.
            Err(StoreError::Mapping(why)) if is_noted(connection, sources).await? => {
                tracing::error!(why, "the mapped tables were changed: no figure can be read anew");
            }
            fit => fit?,
        }
        note_mapping(connection, sources, lock_class).await?;
        let namespace = sqlx::query_scalar("SELECT installation FROM fleet")
            .fetch_one(&mut *connection)
            .await?;
        let noticing = Noticing::of(connection, sources, schema).await?;
        let most_ms: i64 = sqlx::query_scalar(MOST_WAIT_MS).fetch_one(&mut *connection).await?;
        Ok(Some(Mapping {
            facilities: sources.facilities.clone(),
            namespace,
            lock_class,
            noticing,
            left: Mutex::default(),
            latest: Latest::new(hash_of(sources), lock_class),
            most_lock_wait: Duration::from_millis(u64::try_from(most_ms).unwrap_or(0)),
        }))
    }

    /// The statement that resolves marks of the owner's tables, in a drain snapshot.
    pub fn resolve(&self) -> Option<Arc<str>> {
        self.noticing.resolve()
    }

    /// Plans again where a drain snapshot shows other mapped tables, or other triggers on them.
    /// Where the plan is then another one, the snapshot's marks were followed by ways that are not
    /// its.
    pub async fn follow(&self, pool: &PrimaryPool, look: &mut SnapshotAnswer) -> Result<()> {
        let connect = async || pool.driver().acquire().await;
        let (now, made_for) = (look.row.try_get("mapped_now")?, look.row.try_get("mapped_plan")?);
        if self.noticing.follow(connect, now, made_for).await? {
            look.resolved = None;
            // What was noted while the plan was another one may lead nowhere.
            triggers::note(pool, None).await?;
        }
        Ok(())
    }

    /// Whether marks with this way lead to facilities.
    pub fn has_way(&self, way: &str) -> bool {
        self.noticing.has_way(way)
    }

    /// The facilities that our table cannot follow, as changes to be named.
    pub fn left(&self) -> Vec<SourceChange> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().map(|text| SourceChange { text: text.clone(), breaks: false }).collect()
    }

    /// Makes our table `facilities` equal to the mapped ones: to all, or to those with these ids.
    /// Returns whether anything has changed.
    pub async fn mirror(&self, pool: &PrimaryPool, ids: Option<&[Uuid]>) -> Result<bool> {
        mirror::mirror(pool, self, ids).await
    }
}

/// Checks that the server can carry out all statements of the mapping.
async fn check_fit(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<()> {
    let statements = SourceStatements::of(Some(sources));
    let nobody: &[Uuid] = &[];
    let read = sqlx::query(AssertSqlSafe(statements.facilities_now.clone()))
        .bind(nobody)
        .fetch_all(&mut *connection)
        .await;
    if let Err(error) = read {
        return Err(misfit::error(connection, sources, "sources.facilities", &error).await);
    }
    for branch in figures::branches(sources) {
        // Carried out, since the server looks at rights only then.
        let read = sqlx::query(AssertSqlSafe(branch.probe())).fetch_all(&mut *connection).await;
        if let Err(error) = read {
            return Err(misfit::error(connection, sources, &branch.name, &error).await);
        }
    }
    fits(connection, "sources", statements.derive.to_string()).await?;
    fits(connection, "sources", statements.activity.to_string()).await
}

/// What `adopt accept` finds.
#[derive(Debug, Default)]
pub struct Accepted {
    /// What had changed.
    pub changes: Vec<SourceChange>,
    /// What is to be done next.
    pub notes: Vec<String>,
}

/// Accepts the mapped tables as they are now. Returns what had changed.
///
/// # Errors
/// The mapping does not fit the tables, or no service was started with it yet.
pub async fn accept(
    settings: &DatabaseSettings,
    sources: &SourcesSettings,
    note: impl FnOnce(&[SourceChange]) -> AuditNote,
) -> Result<Accepted> {
    let options = connect::options(settings, &settings.url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let home = Home::new(settings);
    home.settle(&mut connection).await?;
    let schema = home.schema(&mut connection).await?;
    if !is_noted(&mut connection, sources).await? {
        return Err(StoreError::Mapping(
            "no service was started with this mapping on this database: there is nothing to \
             accept, as its start accepts the tables as they are"
                .into(),
        ));
    }
    let of_keys = keys::fit(&mut connection, sources).await?;
    check_fit(&mut connection, sources).await?;
    let changes = match Shape::stored(&mut connection).await? {
        Some(shape) => shape.changes(&mut connection).await?,
        None => Vec::new(),
    };
    let of_keys = of_keys.map(|text| SourceChange { text, breaks: false });
    let changes: Vec<SourceChange> = changes.into_iter().chain(of_keys).collect();
    let to_do = notice::to_install(&mut connection, sources, &schema).await?;
    let now = Shape::read(&mut connection, sources).await?;
    let mut tx = connection.begin_with(BEGIN).await?;
    now.store(&mut tx).await?;
    if !changes.is_empty() {
        access::note(&note(&changes)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Accepted { changes, notes: to_do.into_iter().collect() })
}

/// Whether the last start had the same mapping.
async fn is_noted(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<bool> {
    let noted: Option<String> =
        sqlx::query_scalar("SELECT mapping FROM fleet").fetch_one(connection).await?;
    Ok(noted.is_some_and(|noted| noted == hash_of(sources)))
}

/// A hash of what decides on the figures.
fn hash_of(sources: &SourcesSettings) -> String {
    let SourcesSettings {
        notice: _,
        compare_seconds: _,
        check: _,
        facilities,
        stock,
        deliveries,
        requests,
        blood_types,
        places: _,
    } = sources;
    let text = format!("{facilities:?}{stock:?}{deliveries:?}{requests:?}{blood_types:?}");
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Has the server read the statement, which uses `part` of the mapping.
async fn fits(connection: &mut PgConnection, part: &str, statement: String) -> Result<()> {
    let prepared = connection.prepare(AssertSqlSafe(statement).into_sql_str()).await;
    prepared.map(drop).map_err(|error| does_not_fit(part, &error))
}

fn needs_sources() -> StoreError {
    StoreError::Mapping(
        "this installation gets its facilities from tables of another program, and there is no \
         [sources] now: its figures would all be 0. Start with the same [sources] in the settings, \
         or name another schema in database.schema"
            .into(),
    )
}

fn has_its_own() -> StoreError {
    StoreError::Mapping(
        "[sources] maps tables of another program, but this installation has facilities of its \
         own, from events or imports: they would be removed. Name another schema in \
         database.schema, such as facility_summary_mapped"
            .into(),
    )
}

/// Compares the mapping with the one of the last start. With another one all stored figures are
/// read anew, in another epoch, and no answer takes them as they are.
///
/// # Errors
/// `Mapping` where the facilities come from another place: their ids belong to the earlier one.
async fn note_mapping(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    lock_class: i32,
) -> Result<()> {
    let facilities = place_of(&sources.facilities);
    let mapping = hash_of(sources);
    let mut tx = connection.begin_with(BEGIN).await?;
    // It waits for the transactions of servers with another mapping, and holds no lock of the
    // owner's tables meanwhile.
    sqlx::raw_sql("SET LOCAL lock_timeout = 0").execute(&mut *tx).await?;
    if !is_noted(&mut tx, sources).await? {
        sqlx::raw_sql(AssertSqlSafe(latest::take_over(lock_class))).execute(&mut *tx).await?;
    }
    let (epoch, before, noted): (String, Option<String>, Option<String>) = sqlx::query_as(
        "SELECT fleet_epoch(salt), mapped_facilities, mapping FROM fleet FOR UPDATE",
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(before) = before.filter(|before| *before != facilities) {
        return Err(has_other_facilities(&before, &facilities));
    }
    let (stored, now) = (Shape::stored(&mut tx).await?, Shape::read(&mut tx, sources).await?);
    if let Some(stored) = stored.filter(|_| noted.as_ref() == Some(&mapping)) {
        // A restored dump, in which the same names have other ids.
        if stored.is_of_elsewhere(&now) && stored.changes(&mut tx).await?.is_empty() {
            now.store(&mut tx).await?;
            return Ok(tx.commit().await?);
        }
        let Some(with_labels) = stored.with_labels(&now) else { return Ok(()) };
        with_labels.store(&mut tx).await?;
        return Ok(tx.commit().await?);
    }
    now.store(&mut tx).await?;
    if noted.as_ref() == Some(&mapping) {
        return Ok(tx.commit().await?);
    }
    if noted.is_some() {
        tracing::warn!("the mapping has changed: all figures are read anew");
        sqlx::query(
            "UPDATE dashboard_daily_summary SET as_of = to_timestamp(0::float8), day_as_of = NULL",
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query(include_str!("../../../../sql/postgres/begin_epoch.sql"))
            .bind(epoch)
            .bind(Uuid::new_v4().to_string())
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "UPDATE fleet SET mapped_facilities = $1::text, mapping = $2::text, mirrored_ms = NULL",
    )
    .bind(&facilities)
    .bind(&mapping)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Refuses a mapping whose facilities come from another place, before anything is changed.
pub(super) async fn refuse_other_facilities(
    connection: &mut PgConnection,
    source: &FacilitySource,
) -> Result<()> {
    let before: Option<String> =
        sqlx::query_scalar("SELECT mapped_facilities FROM fleet").fetch_one(connection).await?;
    let now = place_of(source);
    match before.filter(|before| *before != now) {
        Some(before) => Err(has_other_facilities(&before, &now)),
        None => Ok(()),
    }
}

/// Where the facilities come from.
fn place_of(FacilitySource { from, key, .. }: &FacilitySource) -> String {
    format!("{key} FROM {from}")
}

fn has_other_facilities(before: &str, now: &str) -> StoreError {
    StoreError::Mapping(format!(
        "the facilities of this installation are {before}, and [sources] now says {now}: their \
         ids, and what is recorded of their past days, would go to others. Name another schema in \
         database.schema"
    ))
}

/// The error that a part of the mapping does not fit the database.
pub(super) fn does_not_fit(part: &str, error: &sqlx::Error) -> StoreError {
    StoreError::Mapping(format!("{part} does not fit the database: {}", said(error)))
}
