//! The table `fleet`, and the reads that return its watermark as well.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use super::{columns, date, pool::PrimaryPool, summary_row};
use crate::{
    domain::summary::{Key, SummaryRow},
    protocol::{Epoch, Position, Watermark},
    store::{Cause, Result, StoreError, TableRead, epoch::Agreed, unreadable},
};

pub(super) fn agreed(row: &PgRow) -> Result<Agreed> {
    Ok(Agreed {
        identity: row.try_get("epoch")?,
        watermark_identity: row.try_get("watermark_epoch")?,
        watermark_ms: row.try_get("watermark_ms")?,
        position: Position {
            generation: row.try_get("watermark_generation")?,
            number: row.try_get("watermark_number")?,
        },
    })
}

/// The epoch and the watermark that the primary states. An error when the server is a standby: some
/// proxies and host names lead to any server, such as a demoted primary.
pub(super) fn of_primary(agreed: Agreed) -> Result<(Epoch, Option<Watermark>)> {
    agreed.here().ok_or_else(in_recovery)
}

/// What is wrong with a server that should be the primary.
pub(super) const IS_A_STANDBY: &str = "the server that database.url leads to is a standby (it is \
                                       in recovery) and should be the primary: the service writes \
                                       its figures into a schema of its own there. Give the \
                                       primary's URL as database.url, and the standby's as \
                                       database.read_url; docs/adopt.md says how figures may come \
                                       from the tables of a standby";

pub(super) fn in_recovery() -> StoreError {
    StoreError::Unavailable(Cause::found(IS_A_STANDBY))
}

pub(super) fn no_row() -> StoreError {
    StoreError::Unreadable(
        "the table fleet is empty and should have one row; INSERT INTO fleet DEFAULT VALUES \
         brings it back"
            .into(),
    )
}

/// The result of one statement for the keys that were asked for.
pub(super) struct ServerAnswer {
    rows: Vec<SummaryRow>,
    zones: HashMap<Uuid, String>,
    changing: HashSet<Uuid>,
}

impl ServerAnswer {
    /// The result, with the epoch and the watermark of the server that answered.
    pub fn at(
        self,
        (epoch, watermark): (Epoch, Option<Watermark>),
        standby: Option<Arc<str>>,
    ) -> TableRead {
        TableRead {
            rows: self.rows,
            zones: self.zones,
            changing: self.changing,
            epoch,
            watermark,
            standby,
        }
    }
}

/// Reads the stored rows of these keys, and the server's epoch and watermark, in one snapshot.
pub(super) async fn summaries(
    connection: impl PgExecutor<'_>,
    keys: &[Key],
) -> Result<(Agreed, ServerAnswer)> {
    let statement = match keys {
        [key] => sqlx::query(include_str!("../../../sql/postgres/summary.sql"))
            .bind(key.facility_id)
            .bind(key.date.to_string()),
        _ => {
            let (ids, dates) = columns(keys);
            sqlx::query(include_str!("../../../sql/postgres/summaries.sql")).bind(ids).bind(dates)
        }
    };
    let found = statement.fetch_all(connection).await?;
    let agreed = agreed(found.first().ok_or_else(no_row)?)?;
    let (mut rows, mut zones, mut changing) =
        (Vec::with_capacity(found.len()), HashMap::new(), HashSet::new());
    for row in &found {
        if let Some(facility_id) = row.try_get::<Option<Uuid>, _>("facility_id")? {
            // This is the date of the key, so it can be read: the row was found by it.
            let date = date(row)?;
            rows.push(
                summary_row(row)
                    .unwrap_or_else(|error| unreadable::summary(facility_id, date, &error)),
            );
        }
        if let Some(timezone) = row.try_get::<Option<&[u8]>, _>("timezone")? {
            let asked: Uuid = row.try_get("asked_id")?;
            zones.insert(asked, unreadable::text(timezone, "facilities", asked));
            if row.try_get("is_changing")? {
                changing.insert(asked);
            }
        }
    }
    Ok((agreed, ServerAnswer { rows, zones, changing }))
}

pub(super) async fn store_watermark(
    connection: &mut PgConnection,
    watermark: &Watermark,
    epoch: &Epoch,
) -> Result<bool> {
    let stored = sqlx::query(include_str!("../../../sql/postgres/store_watermark.sql"))
        .bind(epoch.identity())
        .bind(watermark.at_ms)
        .bind(watermark.position.generation)
        .bind(watermark.position.number)
        .execute(connection)
        .await?;
    Ok(stored.rows_affected() == 1)
}

pub(super) async fn begin_generation(pool: &PrimaryPool, after: i64) -> Result<i64> {
    let begun = sqlx::query_scalar(
        "UPDATE fleet SET generation = generation + 1 WHERE generation = $1 RETURNING generation",
    )
    .bind(after)
    .fetch_optional(pool)
    .await?;
    begun.ok_or(StoreError::Conflict)
}

pub(super) async fn begin_epoch(pool: &PrimaryPool, old: &Epoch) -> Result<()> {
    let begin = sqlx::query(include_str!("../../../sql/postgres/begin_epoch.sql"))
        .bind(old.identity())
        .bind(Uuid::new_v4().to_string());
    begin.execute(pool).await?;
    Ok(())
}

pub(super) async fn forget_published(
    connection: &mut PgConnection,
    outbox: &[i64],
    facilities: &[i64],
) -> Result<()> {
    let forget = sqlx::query(include_str!("../../../sql/postgres/forget_published.sql"));
    forget.bind(outbox).bind(facilities).execute(connection).await?;
    Ok(())
}
