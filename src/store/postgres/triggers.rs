//! The triggers that leave marks. A database function creates them as they should be, and a view
//! shows how they are; both are in `migrations/postgres/0005_triggers.sql`.

use std::sync::atomic::Ordering;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    PostgresStore, json,
    pool::PrimaryPool,
    sources::{Mapping, SourceStatements},
};
use crate::store::{Result, TriggerOff, Triggers, source_triggers::SourceWatch};

impl SourceWatch for PostgresStore {
    fn are_unwatched(&self) -> bool {
        self.statements.are_unwatched.load(Ordering::Relaxed)
    }
}

/// What puts triggers on mapped tables right.
const INSTALL: &str = "facility-summary adopt install";

/// The triggers as a drain snapshot shows them. Where what is mapped means something else than in
/// the snapshot before, everything is to be marked once more: another server may have had it marked
/// already, and this one has derived days with the earlier meaning since.
pub(super) async fn see_look(
    pool: &PrimaryPool,
    row: &PgRow,
    mapping: Option<&Mapping>,
) -> Result<Triggers> {
    let mut triggers = of_look(row, mapping)?;
    if pool.meaning().see(row.try_get("mapped_now")?, row.try_get("labels_now")?)
        && triggers.are_trusted()
    {
        note(pool, None).await?;
        triggers.seen = None;
    }
    Ok(triggers)
}

fn of_look(row: &PgRow, mapping: Option<&Mapping>) -> Result<Triggers> {
    let mut triggers = Triggers {
        off: off(row, "triggers_off")?,
        fingerprint: row.try_get("triggers_now")?,
        seen: row.try_get("triggers_seen")?,
        sources_are_unwatched: false,
        remedy: row.try_get("remedy")?,
    };
    let Some(mapping) = mapping else { return Ok(triggers) };
    let watched = mapping.noticing.judge(row.try_get("mapped_plan")?, off(row, "mapped_off")?);
    triggers.sources_are_unwatched = !watched.are_noticed;
    if watched.are_noticed {
        let now: &str = row.try_get("mapped_now")?;
        let seen: Option<&str> = row.try_get("mapped_seen")?;
        triggers.fingerprint = both(&triggers.fingerprint, now);
        triggers.seen = triggers.seen.zip(seen).map(|(own, mapped)| both(&own, mapped));
    }
    triggers.remedy = match (triggers.off.is_empty(), watched.off.is_empty()) {
        (_, true) => triggers.remedy,
        (true, false) => INSTALL.into(),
        (false, false) => format!("{}, and {INSTALL},", triggers.remedy),
    };
    triggers.off.extend(watched.off);
    Ok(triggers)
}

/// Two fingerprints in one.
fn both(own: &str, mapped: &str) -> String {
    format!("{own} {mapped}")
}

fn off(row: &PgRow, column: &str) -> Result<Vec<TriggerOff>> {
    let off: Vec<(String, String, String)> = json(row, column)?;
    let off = off.into_iter();
    Ok(off.map(|(table, trigger, why)| TriggerOff { table, trigger, why }).collect())
}

/// Finds out whether writes to mapped tables leave marks, for a command, which takes no drain
/// snapshot.
pub(super) async fn see(
    connection: &mut PgConnection,
    mapping: Option<&Mapping>,
    statements: &SourceStatements,
) -> Result<()> {
    let Some(mapping) = mapping else { return Ok(()) };
    let row = sqlx::query("SELECT off::text AS off, mapped_plan FROM fleet, mapped_triggers")
        .fetch_one(connection)
        .await?;
    let watched = mapping.noticing.judge(row.try_get("mapped_plan")?, off(&row, "off")?);
    statements.are_unwatched.store(!watched.are_noticed, Ordering::Relaxed);
    Ok(())
}

pub(super) async fn note(pool: &PrimaryPool, fingerprint: Option<&str>) -> Result<()> {
    let (own, mapped) = match fingerprint.and_then(|both| both.split_once(' ')) {
        Some((own, mapped)) => (Some(own), Some(mapped)),
        None => (fingerprint, None),
    };
    sqlx::query(include_str!("../../../sql/postgres/note_triggers.sql"))
        .bind(own)
        .bind(mapped)
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn restore(pool: &PrimaryPool) -> Result<bool> {
    let (are_off, remedy): (bool, String) =
        sqlx::query_as("SELECT off <> '[]'::jsonb, remedy FROM source_triggers")
            .fetch_one(pool)
            .await?;
    if are_off {
        sqlx::raw_sql(AssertSqlSafe(remedy)).execute(pool).await?;
    }
    Ok(are_off)
}
