//! Which facility has a row on which an expression of a list fails, for `adopt check`.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::lists;
use crate::{config::sources::SourcesSettings, store::StoreError};

/// The key of a facility of whose rows one fails; `None` where the error is of no single facility.
/// It halves the facilities, so the list is read a few times.
pub(super) async fn facility(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    list: &str,
    error: sqlx::Error,
) -> Option<String> {
    if !StoreError::from(error).is_of_rows() {
        return None;
    }
    let select = lists::selects(sources).into_iter().find(|(name, _)| name == list)?.1;
    let keys = format!(
        "SELECT DISTINCT place.key::text FROM ({}) AS place ORDER BY 1",
        lists::places(&sources.facilities)
    );
    let keys: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(keys)).fetch_all(&mut *connection).await.ok()?;
    // Without any facility nothing may fail: otherwise it is not the facility that decides.
    if fails(connection, &select, &[]).await? || !fails(connection, &select, &keys).await? {
        return None;
    }
    let mut part = &keys[..];
    while part.len() > 1 {
        let (first, second) = part.split_at(part.len() / 2);
        part = if fails(connection, &select, first).await? { first } else { second };
    }
    part.first().cloned()
}

/// Whether reading the list's rows of these facilities fails.
async fn fails(connection: &mut PgConnection, select: &str, keys: &[String]) -> Option<bool> {
    let read = format!(
        "SELECT count(held::text) FROM ({select}) AS held WHERE (held.c0)::text = ANY \
         ($1::text[])"
    );
    let mut tx = connection.begin().await.ok()?;
    let read = sqlx::query(AssertSqlSafe(read)).bind(keys).fetch_all(&mut *tx).await;
    tx.rollback().await.ok()?;
    match read {
        Ok(_) => Some(false),
        Err(error) => StoreError::from(error).is_of_rows().then_some(true),
    }
}
