//! Facilities, read from our table, or of the mapped tables as they are now.

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    epoch,
    pool::{Borrowed, PrimaryPool},
    sources::{Mapping, SourceStatements},
    text,
};
use crate::store::{FacilitiesRead, FacilityRow, Result, StoreError};

/// All facilities, or those of `ids` that exist. With a mapping, our table is first made equal to
/// the mapped ones; where those cannot be read, the rows are the last ones. The epoch is read over
/// the connection of the rows: another one may lead to another server.
pub(super) async fn facilities(
    pool: &PrimaryPool,
    statements: &SourceStatements,
    mapping: Option<&Mapping>,
    ids: Option<&[Uuid]>,
) -> Result<FacilitiesRead> {
    let mirrored = match mapping {
        Some(mapping) => mapping.mirror(pool, ids).await.map(drop),
        None => Ok(()),
    };
    let mut outdated = match mirrored {
        Err(error) if is_of_mapped_tables(&error) => Some(error),
        mirrored => mirrored.map(|()| None)?,
    };
    let query = match ids {
        None => sqlx::query(AssertSqlSafe(statements.all_facilities.clone())),
        Some(ids) => sqlx::query(AssertSqlSafe(statements.facilities.clone())).bind(ids),
    };
    let mut connection = pool.acquire().await?;
    let mut stored_ms = None;
    if let Some(StoreError::Superseded) = outdated {
        // Before the rows, which are then as of that instant or later.
        stored_ms = as_of_other_server(&mut connection).await?;
        outdated = outdated.filter(|_| stored_ms.is_none());
    }
    let rows = query.fetch_all(&mut connection).await?;
    let (agreed, _) = epoch::summaries(&mut connection, &[]).await?;
    let (epoch, watermark) = epoch::of_primary(agreed)?;
    let rows = rows.iter().map(facility).collect::<Result<_>>()?;
    Ok(FacilitiesRead { rows, epoch, watermark, outdated, stored_ms })
}

/// The instant as of which the server whose mapping counts has stored the facilities: that of its
/// watermark, or of the last time that it read all mapped ones.
async fn as_of_other_server(connection: &mut Borrowed) -> Result<Option<i64>> {
    let (agreed, _) = epoch::summaries(&mut *connection, &[]).await?;
    let (_, watermark) = epoch::of_primary(agreed)?;
    let mirrored_ms: Option<i64> =
        sqlx::query_scalar("SELECT mirrored_ms FROM fleet").fetch_one(connection).await?;
    Ok(watermark.map(|watermark| watermark.at_ms).max(mirrored_ms))
}

/// Whether the error says that the mapped tables are not as the mapping has them, or may not be
/// read. It is not one of the whole database.
fn is_of_mapped_tables(error: &StoreError) -> bool {
    match error {
        StoreError::Superseded | StoreError::Refused(_) => true,
        StoreError::Failed(_) => !error.is_of_the_whole_database(),
        _ => false,
    }
}

/// Those of `ids` that exist in the snapshot of this statement.
pub(super) async fn facilities_now(
    tx: &mut Borrowed,
    statements: &SourceStatements,
    ids: &[Uuid],
) -> Result<Vec<FacilityRow>> {
    let query = sqlx::query(AssertSqlSafe(statements.facilities_now.clone())).bind(ids);
    query.fetch_all(tx).await?.iter().map(facility).collect()
}

fn facility(row: &PgRow) -> Result<FacilityRow> {
    let id: Uuid = row.try_get("id")?;
    Ok(FacilityRow {
        id,
        name: text(row, "name", "facilities", id)?,
        timezone: text(row, "timezone", "facilities", id)?,
        removed_at_version: row.try_get("removed_at_version")?,
        key: row.try_get("key")?,
    })
}
