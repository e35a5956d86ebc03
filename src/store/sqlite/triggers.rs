//! The triggers that leave marks: whether each is there, as the migrations made it and on its
//! table, and whether this was so all the time.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Result, Row, SqliteConnection, sqlite::SqliteRow};

use crate::store::{TriggerOff, Triggers};

/// The migrations that made the triggers: that of the first release, and a later one. A migration
/// that changes a trigger must be added here.
const MADE_FIRST: &str = include_str!("../../../migrations/sqlite/0003_marks.sql");
const MADE_BY: [&str; 2] =
    [MADE_FIRST, include_str!("../../../migrations/sqlite/0005_triggers.sql")];

/// A trigger that should exist.
struct TriggerDefinition {
    name: &'static str,
    table: &'static str,
    statement: &'static str,
}

fn made_by(migration: &'static str) -> impl Iterator<Item = TriggerDefinition> {
    migration.match_indices("CREATE TRIGGER ").filter_map(|(at, _)| {
        let statement = migration[at..].split_inclusive("\nEND;").next()?;
        let name = statement.split_whitespace().nth(2)?;
        Some(TriggerDefinition { name, table: name.split_once("_mark_")?.0, statement })
    })
}

/// The triggers of these migrations that are not as they were made, each with the reason. It is
/// missing, or there is another trigger under its name, or it is on another table: for example, its
/// table was renamed and a copy took its place.
async fn off(
    connection: &mut SqliteConnection,
    migrations: &[&'static str],
) -> Result<Vec<(TriggerDefinition, &'static str)>> {
    let rows = sqlx::query("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut *connection)
        .await?;
    let there: HashMap<&[u8], (&[u8], &[u8])> = rows
        .iter()
        .map(|row| {
            Ok((row.try_get_unchecked(0)?, (row.try_get_unchecked(1)?, row.try_get_unchecked(2)?)))
        })
        .collect::<Result<_>>()?;
    let why = |trigger: &TriggerDefinition| match there.get(trigger.name.as_bytes()) {
        None => Some("missing"),
        Some((table, sql))
            if *table == trigger.table.as_bytes()
                && *sql == trigger.statement.trim_end_matches(';').as_bytes() =>
        {
            None
        }
        Some(_) => Some("altered"),
    };
    Ok(migrations
        .iter()
        .flat_map(|migration| made_by(migration))
        .filter_map(|t| why(&t).map(|why| (t, why)))
        .collect())
}

/// The version of the schema. It changes when a trigger is dropped, and again when it is created.
pub async fn fingerprint(connection: &mut SqliteConnection) -> Result<String> {
    let version: i64 = sqlx::query_scalar("SELECT schema_version FROM pragma_schema_version")
        .fetch_one(connection)
        .await?;
    Ok(version.to_string())
}

/// Whether a trigger of another program is on a source table.
pub async fn has_others(connection: &mut SqliteConnection) -> Result<bool> {
    let rows = sqlx::query("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(connection)
        .await?;
    let ours: Vec<TriggerDefinition> =
        MADE_BY.iter().flat_map(|migration| made_by(migration)).collect();
    let is_of_another = |row: &SqliteRow| -> Result<bool> {
        let (name, table): (&[u8], &[u8]) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
        let is_on_a_source = ours.iter().any(|t| t.table.as_bytes().eq_ignore_ascii_case(table));
        let is_ours = ours.iter().any(|t| t.name.as_bytes() == name);
        Ok(is_on_a_source && !is_ours)
    };
    rows.iter().try_fold(false, |found, row| Ok(found || is_of_another(row)?))
}

/// The triggers in the connection's snapshot; `seen` is the stored fingerprint.
pub async fn look(connection: &mut SqliteConnection, seen: Option<String>) -> Result<Triggers> {
    let off = off(connection, &MADE_BY).await?;
    let off = off.into_iter().map(|(t, why)| TriggerOff {
        table: t.table.into(),
        trigger: t.name.into(),
        why: why.into(),
    });
    Ok(Triggers {
        sources_are_unwatched: false,
        off: off.collect(),
        fingerprint: fingerprint(connection).await?,
        seen,
        remedy: "facility-summary migrate".into(),
    })
}

/// Stores the fingerprint, or that there is none. Returns false when it was stored already.
pub async fn remember(
    connection: &mut SqliteConnection,
    fingerprint: Option<&str>,
) -> Result<bool> {
    let remember = sqlx::query("UPDATE fleet SET triggers_seen = $1 WHERE triggers_seen IS NOT $1")
        .bind(fingerprint);
    Ok(remember.execute(connection).await?.rows_affected() > 0)
}

/// Leaves a mark of every facility and all time.
pub async fn mark_everything(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("INSERT INTO summary_marks (kind) VALUES ('facility')").execute(connection).await?;
    Ok(())
}

/// Creates again the triggers that are not as they should be. Returns false when there were none.
pub async fn restore(connection: &mut SqliteConnection) -> Result<bool> {
    let off = off(connection, &MADE_BY).await?;
    for (trigger, _) in &off {
        let anew = format!("DROP TRIGGER IF EXISTS {}; {}", trigger.name, trigger.statement);
        sqlx::raw_sql(AssertSqlSafe(anew)).execute(&mut *connection).await?;
    }
    Ok(!off.is_empty())
}

/// Whether, before any migration, no write can have been without a mark. That is so when the file
/// is new, or when all triggers are there and the stored fingerprint says that they were there all
/// the time.
pub async fn are_trusted(connection: &mut SqliteConnection) -> Result<bool> {
    let is_new = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = \
                  'facilities')";
    if sqlx::query_scalar(is_new).fetch_one(&mut *connection).await? {
        return Ok(true);
    }
    let remembers =
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('fleet') WHERE name = 'triggers_seen')";
    // A release that stores no fingerprint had only the first of them.
    let (is_as_remembered, made_by) =
        if sqlx::query_scalar(remembers).fetch_one(&mut *connection).await? {
            let seen = sqlx::query("SELECT triggers_seen FROM fleet")
                .fetch_optional(&mut *connection)
                .await?;
            let seen: Option<String> = seen.map(|row| row.try_get(0)).transpose()?.flatten();
            (seen == Some(fingerprint(connection).await?), &MADE_BY[..])
        } else {
            (true, &MADE_BY[..1])
        };
    Ok(is_as_remembered && off(connection, made_by).await?.is_empty())
}

/// Stores the fingerprint after the migrations, because they change the schema.
pub async fn trust(connection: &mut SqliteConnection) -> Result<()> {
    let fingerprint = fingerprint(connection).await?;
    remember(connection, Some(&fingerprint)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trigger_of_the_migration_is_known_with_its_whole_statement() {
        let all: Vec<TriggerDefinition> =
            MADE_BY.iter().flat_map(|migration| made_by(migration)).collect();
        assert_eq!(
            all.len(),
            MADE_BY
                .iter()
                .map(|migration| migration.matches("CREATE TRIGGER").count())
                .sum::<usize>()
        );
        for trigger in all {
            assert!(
                trigger.statement.ends_with("\nEND;")
                    && trigger.statement.matches("CREATE TRIGGER").count() == 1,
                "{}",
                trigger.name
            );
            assert!(
                trigger.statement.contains(&format!(" ON {} ", trigger.table)),
                "{}",
                trigger.statement
            );
        }
    }
}
