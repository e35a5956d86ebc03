//! What the row of a drain snapshot says.

use jiff::civil::Date;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{json, marks, server_registry::SnapshotAnswer, sources::notice::Noticing};
use crate::{
    domain::summary::Key,
    store::{DrainSnapshot, OutboxCounters, Result, Triggers},
};

/// The drain snapshot of this answer.
pub(super) fn of_look(
    look: SnapshotAnswer,
    triggers: Triggers,
    noticing: Option<&Noticing>,
) -> Result<DrainSnapshot> {
    let (marks, noticed) = marks::of_look(&look, noticing)?;
    let row = &look.row;
    Ok(DrainSnapshot {
        at_ms: row.try_get("at_ms")?,
        marks,
        noticed,
        strays: json(row, "strays")?,
        triggers,
        outbox: outbox(row)?,
        changed_facilities: json(row, "facilities")?,
        expiry_due: row.try_get("expiry_due")?,
        epoch: look.epoch,
        generation: row.try_get("generation")?,
        stored_watermark: look.watermark,
        written: OutboxCounters {
            rows: row.try_get::<Option<i64>, _>("rows_written")?.unwrap_or(0),
            versions_from: row.try_get("versions_from")?,
            transactions: row.try_get("next_transaction")?,
            server_since_ms: row.try_get("server_since_ms")?,
            ..OutboxCounters::default()
        },
        verified_through_ms: row.try_get("verified_through_ms")?,
        servers: u64::try_from(row.try_get::<i64, _>("servers")?).unwrap_or(0),
        off_stream: u64::try_from(row.try_get::<i64, _>("off_stream")?).unwrap_or(0),
        arrived: look.arrived,
        leads: look.leads,
    })
}

/// The outbox rows of a snapshot: id, key, version.
fn outbox(row: &PgRow) -> Result<Vec<(i64, Key, i64)>> {
    let rows: Vec<(i64, Uuid, Date, i64)> = json(row, "outbox")?;
    Ok(rows
        .into_iter()
        .map(|(id, facility_id, date, version)| (id, Key { facility_id, date }, version))
        .collect())
}
