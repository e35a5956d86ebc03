//! The triggers that leave marks. A database function creates them as they should be, and a view
//! shows how they are; both are in `migrations/postgres/0005_triggers.sql`.

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use super::{json, pool::PrimaryPool};
use crate::store::{Result, TriggerOff, Triggers};

/// The triggers as a drain snapshot shows them.
pub(super) fn of_look(row: &PgRow, sources_are_unwatched: bool) -> Result<Triggers> {
    let off: Vec<(String, String, String)> = json(row, "triggers_off")?;
    Ok(Triggers {
        off: off
            .into_iter()
            .map(|(table, trigger, why)| TriggerOff { table, trigger, why })
            .collect(),
        fingerprint: row.try_get("triggers_now")?,
        seen: row.try_get("triggers_seen")?,
        sources_are_unwatched,
        remedy: row.try_get("remedy")?,
    })
}

pub(super) async fn note(pool: &PrimaryPool, fingerprint: &str) -> Result<()> {
    sqlx::query(include_str!("../../../sql/postgres/note_triggers.sql"))
        .bind(fingerprint)
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
