//! The table `fleet`, and the reads that return its watermark as well.

use std::collections::{HashMap, HashSet};

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{row, sql, triggers};
use crate::{
    protocol::{Epoch, Position, Watermark},
    store::{
        DrainSnapshot, NoticedMarks, OutboxCounters, Result, StoreError, TableRead, epoch::Agreed,
        unreadable,
    },
};

/// Reads the rows of `summaries.sql`.
pub fn table_read(found: &[SqliteRow]) -> Result<TableRead> {
    let (epoch, watermark) = agreed(found.first().ok_or_else(no_row)?)?;
    let (mut rows, mut zones, mut changing) =
        (Vec::with_capacity(found.len()), HashMap::new(), HashSet::new());
    for row in found {
        if row.try_get::<Option<&[u8]>, _>(0)?.is_some() {
            rows.push(row::summary(row)?);
        }
        if let Some(timezone) = row.try_get_unchecked::<Option<&[u8]>, _>("timezone")? {
            let asked: Uuid = row.try_get("asked_id")?;
            zones.insert(asked, unreadable::text(timezone, "facilities", asked));
            if row.try_get("is_changing")? {
                changing.insert(asked);
            }
        }
    }
    Ok(TableRead { rows, zones, changing, epoch, watermark, standby: None })
}

/// Reads a drain snapshot without its marks and outboxes, which stay empty.
pub async fn observed(snapshot: &mut SqliteConnection, at_ms: i64) -> Result<DrainSnapshot> {
    let row = sqlx::query(sql!("drain_snapshot"))
        .bind(at_ms)
        .fetch_optional(&mut *snapshot)
        .await?
        .ok_or_else(no_row)?;
    let (epoch, stored_watermark) = agreed(&row)?;
    Ok(DrainSnapshot {
        at_ms,
        marks: Vec::new(),
        strays: Vec::new(),
        noticed: NoticedMarks::default(),
        triggers: triggers::look(snapshot, row.try_get("triggers_seen")?).await?,
        outbox: Vec::new(),
        changed_facilities: Vec::new(),
        expiry_due: row.try_get("expiry_due")?,
        epoch,
        generation: row.try_get("generation")?,
        stored_watermark,
        written: OutboxCounters {
            rows: row.try_get("rows_written")?,
            versions_from: row.try_get("versions_from")?,
            ..OutboxCounters::default()
        },
        verified_through_ms: row.try_get("verified_through")?,
        servers: 1,
        off_stream: 0,
        arrived: false,
        leads: true,
    })
}

fn agreed(row: &SqliteRow) -> Result<(Epoch, Option<Watermark>)> {
    let agreed = Agreed {
        identity: row.try_get("salt")?,
        watermark_identity: row.try_get("watermark_epoch")?,
        watermark_ms: row.try_get("watermark_at")?,
        position: Position {
            generation: row.try_get("watermark_generation")?,
            number: row.try_get("watermark_number")?,
        },
    };
    agreed.here().ok_or_else(no_row)
}

fn no_row() -> StoreError {
    StoreError::Unreadable(
        "the table fleet is empty and should have one row; INSERT INTO fleet DEFAULT VALUES \
         brings it back"
            .into(),
    )
}
