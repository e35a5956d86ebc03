//! The triggers that leave marks: whether they are all there, and were all the time.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Result, Row, SqliteConnection};

use crate::store::{TriggerOff, Triggers};

/// The migration that made them. One that changes any of them has to be read here, too.
const MADE_BY: &str = include_str!("../../../migrations/sqlite/0003_marks.sql");

/// The triggers that there should be.
struct Trigger {
    name: &'static str,
    table: &'static str,
    statement: &'static str,
}

fn all() -> impl Iterator<Item = Trigger> {
    MADE_BY.match_indices("CREATE TRIGGER ").filter_map(|(at, _)| {
        let statement = MADE_BY[at..].split_inclusive("\nEND;").next()?;
        let name = statement.split_whitespace().nth(2)?;
        Some(Trigger { name, table: name.split_once("_mark_")?.0, statement })
    })
}

async fn missing(connection: &mut SqliteConnection) -> Result<Vec<Trigger>> {
    let there: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut *connection)
            .await?;
    let there: HashSet<&str> = there.iter().map(String::as_str).collect();
    Ok(all().filter(|trigger| !there.contains(trigger.name)).collect())
}

/// The number of the schema: dropping a trigger changes it, and making it again does once more.
async fn fingerprint(connection: &mut SqliteConnection) -> Result<String> {
    let version: i64 = sqlx::query_scalar("SELECT schema_version FROM pragma_schema_version")
        .fetch_one(connection)
        .await?;
    Ok(version.to_string())
}

/// As the connection's snapshot has them; `seen` is what is remembered.
pub async fn look(connection: &mut SqliteConnection, seen: Option<String>) -> Result<Triggers> {
    let off = missing(connection).await?;
    let off = off.into_iter().map(|t| TriggerOff {
        table: t.table.into(),
        trigger: t.name.into(),
        why: "missing".into(),
    });
    Ok(Triggers {
        off: off.collect(),
        fingerprint: fingerprint(connection).await?,
        seen,
        remedy: "facility-summary migrate".into(),
    })
}

/// True where it was not remembered yet.
pub async fn remember(connection: &mut SqliteConnection, fingerprint: &str) -> Result<bool> {
    let remember = sqlx::query("UPDATE fleet SET triggers_seen = $1 WHERE triggers_seen IS NOT $1")
        .bind(fingerprint);
    Ok(remember.execute(connection).await?.rows_affected() > 0)
}

pub async fn mark_everything(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("INSERT INTO summary_marks (kind) VALUES ('facility')").execute(connection).await?;
    Ok(())
}

pub async fn restore(connection: &mut SqliteConnection) -> Result<bool> {
    let missing = missing(connection).await?;
    for trigger in &missing {
        sqlx::raw_sql(AssertSqlSafe(trigger.statement)).execute(&mut *connection).await?;
    }
    Ok(!missing.is_empty())
}

/// Whether, before any migration, nothing can have been written past them: the file is new, or all
/// are there and, as far as the release that used it has remembered, were all the time.
pub async fn are_trusted(connection: &mut SqliteConnection) -> Result<bool> {
    let is_new = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = \
                  'facilities')";
    if sqlx::query_scalar(is_new).fetch_one(&mut *connection).await? {
        return Ok(true);
    }
    let remembers =
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('fleet') WHERE name = 'triggers_seen')";
    let is_as_remembered = if sqlx::query_scalar(remembers).fetch_one(&mut *connection).await? {
        let seen =
            sqlx::query("SELECT triggers_seen FROM fleet").fetch_optional(&mut *connection).await?;
        let seen: Option<String> = seen.map(|row| row.try_get(0)).transpose()?.flatten();
        seen == Some(fingerprint(connection).await?)
    } else {
        true
    };
    Ok(is_as_remembered && missing(connection).await?.is_empty())
}

/// After the migrations, which change the schema themselves.
pub async fn trust(connection: &mut SqliteConnection) -> Result<()> {
    let fingerprint = fingerprint(connection).await?;
    remember(connection, &fingerprint).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trigger_of_the_migration_is_known_with_its_whole_statement() {
        let all: Vec<Trigger> = all().collect();
        assert_eq!(all.len(), MADE_BY.matches("CREATE TRIGGER").count());
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
