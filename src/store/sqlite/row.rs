//! Rows as the store's types.

use jiff::civil::Date;
use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

use crate::{
    domain::{
        blood_type::BloodType,
        event::{Entity, Kind, Record},
        summary::{Bounds, Summary, SummaryRow},
    },
    store::{FacilityRow, JobRun, Mark, MarkKind, Result, Span, StoreError},
};

pub fn facility(row: &SqliteRow) -> Result<FacilityRow> {
    Ok(FacilityRow { id: row.try_get(0)?, name: row.try_get(1)?, timezone: row.try_get(2)?, removed_at_version: row.try_get(3)? })
}

/// A facility and a date, in the first two columns.
pub fn key(row: &SqliteRow) -> Result<(Uuid, Date)> {
    Ok((row.try_get(0)?, date(row, 1)?))
}

pub fn date(row: &SqliteRow, column: impl sqlx::ColumnIndex<SqliteRow>) -> Result<Date> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Unreadable(format!("a summary's date is {text:?} and should be YYYY-MM-DD")))
}

pub fn span(row: &SqliteRow) -> Result<Span> {
    Ok(Span { facility_id: row.try_get(0)?, first_ms: row.try_get(1)?, last_ms: row.try_get(2)? })
}

pub fn outbox(row: &SqliteRow) -> Result<(i64, Uuid, Date, i64)> {
    let (facility_id, date) = key(row)?;
    Ok((row.try_get(2)?, facility_id, date, row.try_get(3)?))
}

pub fn mark(row: &SqliteRow) -> Result<Mark> {
    let first: Option<i64> = row.try_get(3)?;
    let last: Option<i64> = row.try_get(4)?;
    Ok(Mark {
        id: row.try_get(0)?,
        kind: MarkKind::parse(row.try_get(1)?),
        facility_id: row.try_get(2)?,
        span: first.zip(last),
        blood_bank_id: None,
    })
}

pub fn summary(row: &SqliteRow) -> Result<SummaryRow> {
    let (facility_id, date) = key(row)?;
    let (start_ms, end_ms): (Option<i64>, Option<i64>) = (row.try_get(10)?, row.try_get(11)?);
    let by_blood_type: &str = row.try_get(5)?;
    let by_blood_type = serde_json::from_str(by_blood_type).map_err(|e| {
        StoreError::Unreadable(format!("by_blood_type of facility {facility_id}, {date}: {e}; a refresh of that day mends it"))
    })?;
    Ok(SummaryRow {
        summary: Summary {
            facility_id,
            date,
            total_stock: row.try_get(2)?,
            total_transferred: row.try_get(3)?,
            total_requests: row.try_get(4)?,
            by_blood_type,
            updated_at: Some(row.try_get(8)?),
            version: row.try_get(9)?,
        },
        as_of_ms: row.try_get(6)?,
        next_expires_at_ms: row.try_get(7)?,
        bounds: start_ms.zip(end_ms).map(|(start_ms, end_ms)| Bounds { start_ms, end_ms }),
    })
}

pub fn job_run(row: &SqliteRow) -> Result<JobRun> {
    Ok(JobRun {
        id: row.try_get(0)?,
        job: row.try_get(1)?,
        state: row.try_get(2)?,
        started_at_ms: row.try_get(3)?,
        finished_at_ms: row.try_get(4)?,
        total: row.try_get(5)?,
        done: row.try_get(6)?,
        changed: row.try_get(7)?,
        drift: row.try_get(8)?,
        error: row.try_get(9)?,
        verified_through_ms: row.try_get(10)?,
    })
}

/// An entity's id and record, in the order of the columns of `load_*.sql`.
pub fn record(kind: Kind, row: &SqliteRow) -> Result<(Uuid, Record)> {
    let entity = match kind {
        Kind::Facility => Entity::Facility { name: row.try_get(2)?, timezone: row.try_get(3)? },
        Kind::BloodBank => Entity::BloodBank { facility_id: row.try_get(2)?, name: row.try_get(3)? },
        Kind::Inventory => Entity::Inventory {
            blood_bank_id: row.try_get(2)?,
            blood_type: blood_type(row)?,
            quantity: row.try_get(4)?,
            expires_at_ms: row.try_get(5)?,
        },
        Kind::Distribution => Entity::Distribution {
            dispatched_to_id: row.try_get(2)?,
            blood_type: blood_type(row)?,
            quantity: row.try_get(4)?,
            date_delivered_ms: row.try_get(5)?,
        },
        Kind::Request => Entity::Request {
            facility_id: row.try_get(2)?,
            blood_type: blood_type(row)?,
            quantity: row.try_get(4)?,
            created_at_ms: row.try_get(5)?,
        },
    };
    Ok((row.try_get(0)?, Record { event_time_ms: row.try_get(1)?, entity: Some(entity) }))
}

fn blood_type(row: &SqliteRow) -> Result<Option<BloodType>> {
    let text: Option<&str> = row.try_get(3)?;
    Ok(text.and_then(BloodType::from_canonical))
}
