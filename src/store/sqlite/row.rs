//! Reads rows into the store's types.

use jiff::civil::Date;
use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

use crate::{
    domain::{
        blood_type::BloodType,
        event::{Entity, EntityKind, Record},
        summary::{Bounds, Key, Summary, SummaryRow},
    },
    store::{
        FacilityRow, JobRun, Mark, MarkKind, Result, Span, StoreError, StoredBounds,
        stored_days::check_figures, unreadable,
    },
};

/// Reads the rows that hold a valid id, or null, in `column`. The others are noted and left out, so
/// that they do not affect the rest: such a row was written with the checks off.
pub fn readable<T>(
    rows: &[SqliteRow],
    column: usize,
    table: &'static str,
    read: impl Fn(&SqliteRow) -> Result<T>,
) -> Result<Vec<T>> {
    rows.iter().filter(|row| has_id(row, column, table)).map(read).collect()
}

fn has_id(row: &SqliteRow, column: usize, table: &'static str) -> bool {
    const SHOWN: usize = 40;
    match row.try_get_unchecked::<Option<&[u8]>, _>(column) {
        Ok(None) => true,
        Ok(Some(id)) if id.len() == 16 => true,
        Ok(Some(id)) => {
            let beginning: String =
                id.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
            let more = if id.len() > SHOWN { "…" } else { "" };
            let error = format!("the id is {} bytes long and should be a blob of 16", id.len());
            unreadable::note(table, format!("x'{beginning}{more}'"), &error);
            false
        }
        Err(error) => {
            unreadable::note(table, "?", &error);
            false
        }
    }
}

/// The id that a row names. When it is not valid: nil, which belongs to no facility.
fn named(row: &SqliteRow, column: usize, table: &'static str) -> Result<Uuid> {
    if has_id(row, column, table) { Ok(row.try_get(column)?) } else { Ok(Uuid::nil()) }
}

/// A facility.
pub fn facility(row: &SqliteRow) -> Result<FacilityRow> {
    let id: Uuid = row.try_get(0)?;
    Ok(FacilityRow {
        id,
        name: text(row, 1, "facilities", id)?,
        timezone: text(row, 2, "facilities", id)?,
        removed_at_version: row.try_get(3)?,
        key: None,
    })
}

/// A text of a row. SQLite accepts any bytes as text.
pub fn text(row: &SqliteRow, column: usize, table: &'static str, id: Uuid) -> Result<String> {
    Ok(unreadable::text(row.try_get_unchecked(column)?, table, id))
}

/// A facility and a date, in the first two columns; an error names the facility.
pub fn key(row: &SqliteRow) -> Result<Key> {
    let facility_id: Uuid = row.try_get(0)?;
    let date = date(row, 1)
        .map_err(|error| StoreError::Unreadable(format!("facility {facility_id}: {error}")))?;
    Ok(Key { facility_id, date })
}

/// A date in a column. `StoreError::Unreadable` when it is not written as YYYY-MM-DD.
pub fn date(row: &SqliteRow, column: impl sqlx::ColumnIndex<SqliteRow>) -> Result<Date> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| {
        StoreError::Unreadable(format!("a summary's date is {text:?} and should be YYYY-MM-DD"))
    })
}

/// A span of deliveries and requests.
pub fn span(row: &SqliteRow) -> Result<Span> {
    Ok(Span { facility_id: row.try_get(0)?, first_ms: row.try_get(1)?, last_ms: row.try_get(2)? })
}

/// An outbox row: id, key, version.
pub fn outbox(row: &SqliteRow) -> Result<(i64, Key, i64)> {
    Ok((row.try_get(2)?, key(row)?, row.try_get(3)?))
}

/// A mark.
pub fn mark(row: &SqliteRow) -> Result<Mark> {
    let first: Option<i64> = row.try_get(3)?;
    let last: Option<i64> = row.try_get(4)?;
    Ok(Mark {
        id: row.try_get(0)?,
        kind: MarkKind::parse(&String::from_utf8_lossy(row.try_get_unchecked(1)?)),
        facility_id: row.try_get(2)?,
        span: first.zip(last),
        blood_bank_id: None,
    })
}

/// A stored row. When it cannot be read: the row that replaces it.
pub fn summary(row: &SqliteRow) -> Result<SummaryRow> {
    let Key { facility_id, date } = key(row)?;
    Ok(readable_summary(row).unwrap_or_else(|error| unreadable::summary(facility_id, date, &error)))
}

/// A stored row; an error when a part of it cannot be read.
pub fn readable_summary(row: &SqliteRow) -> Result<SummaryRow> {
    let Key { facility_id, date } = key(row)?;
    let (start_ms, end_ms): (Option<i64>, Option<i64>) = (row.try_get(10)?, row.try_get(11)?);
    let by_blood_type: &str = row.try_get(5)?;
    let by_blood_type = serde_json::from_str(by_blood_type).map_err(|e| {
        StoreError::Unreadable(format!(
            "by_blood_type of facility {facility_id}, {date}: {e}; a refresh of that day mends it"
        ))
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

/// Of which of these days a stored row is; `None` when the row cannot be read.
pub fn stored_bounds(row: &SqliteRow, keys: &[Key]) -> Result<Option<StoredBounds>> {
    let number: i64 = row.try_get(0)?;
    let key = keys[usize::try_from(number).expect("json_each counts from 0")];
    if let Err(error) = row.try_get(1).map_err(StoreError::from).and_then(check_figures) {
        unreadable::note_summary(&key, &error);
        return Ok(None);
    }
    let (start_ms, end_ms): (Option<i64>, Option<i64>) = (row.try_get(3)?, row.try_get(4)?);
    let bounds = start_ms.zip(end_ms).map(|(start_ms, end_ms)| Bounds { start_ms, end_ms });
    Ok(Some(StoredBounds { key, as_of_ms: row.try_get(2)?, bounds }))
}

/// A run of a job.
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

/// An entity's id and record, in the column order of `load_*.sql`.
pub fn record(kind: EntityKind, row: &SqliteRow) -> Result<(Uuid, Record)> {
    let id: Uuid = row.try_get(0)?;
    let entity = match kind {
        EntityKind::Facility => Entity::Facility {
            name: text(row, 2, "facilities", id)?,
            timezone: text(row, 3, "facilities", id)?,
        },
        EntityKind::BloodBank => Entity::BloodBank {
            facility_id: named(row, 2, "blood_banks")?,
            name: text(row, 3, "blood_banks", id)?,
        },
        EntityKind::Inventory => Entity::Inventory {
            blood_bank_id: named(row, 2, "blood_inventory")?,
            blood_type: blood_type(row)?,
            quantity: whole(row.try_get(4)?),
            expires_at_ms: row.try_get(5)?,
        },
        EntityKind::Distribution => Entity::Distribution {
            dispatched_to_id: named(row, 2, "blood_distributions")?,
            blood_type: blood_type(row)?,
            quantity: whole(row.try_get(4)?),
            date_delivered_ms: row.try_get(5)?,
        },
        EntityKind::Request => Entity::Request {
            facility_id: named(row, 2, "blood_requests")?,
            blood_type: blood_type(row)?,
            quantity: row.try_get::<Option<i64>, _>(4)?.map(whole),
            created_at_ms: row.try_get(5)?,
        },
    };
    Ok((id, Record { event_time_ms: row.try_get(1)?, entity: Some(entity) }))
}

/// Whether `record` reads all that such a row holds: its owner is an id, and its quantity is a
/// possible one.
pub fn is_whole(kind: EntityKind, row: &SqliteRow) -> Result<bool> {
    if matches!(kind, EntityKind::Facility | EntityKind::BloodBank) {
        return Ok(true);
    }
    let owner: Option<&[u8]> = row.try_get_unchecked(2)?;
    let quantity: Option<i64> = row.try_get(4)?;
    Ok(owner.is_some_and(|id| id.len() == 16)
        && quantity.is_none_or(|quantity| i64::from(whole(quantity)) == quantity))
}

fn blood_type(row: &SqliteRow) -> Result<Option<BloodType>> {
    let text: Option<&[u8]> = row.try_get_unchecked(3)?;
    Ok(text.and_then(|text| std::str::from_utf8(text).ok()).and_then(BloodType::from_canonical))
}

/// Reads a quantity. One out of range, which another program wrote with the checks off, becomes the
/// nearest valid one: an event is about to replace it.
fn whole(quantity: i64) -> i32 {
    i32::try_from(quantity.clamp(0, i32::MAX.into())).unwrap_or(i32::MAX)
}
