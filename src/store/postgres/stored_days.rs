//! Stored rows of days: as a difference may be added to them, and as an audit compares them.

use std::sync::atomic::Ordering;

use sqlx::{AssertSqlSafe, Executor, Postgres, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    columns, date, day, day_bounds,
    instants::some_floor_ms,
    pool::{Borrowed, PrimaryPool},
    sources::SourceStatements,
    summary_row, text,
};
use crate::{
    domain::summary::{DayKey, Key},
    store::{
        Difference, Doubt, Result, StoredBounds, StoredDay, StoredDays,
        source_triggers::TrustedSources, stored_days::check_figures, unreadable,
    },
};

/// The stored rows of these days. `as_of_ms` is not later than the snapshot of the next statement.
pub(super) async fn stored_days(
    tx: &mut Borrowed,
    keys: &[DayKey],
    as_of_ms: i64,
    trusted: &TrustedSources,
) -> Result<StoredDays> {
    let mut found = StoredDays { now_ms: as_of_ms, as_of_ms, doubt: None, days: Vec::new() };
    let Some(stamp) = trusted.stamp() else {
        return Ok(StoredDays { doubt: Some(Doubt::Unwatched), ..found });
    };
    let rows = sqlx::query(include_str!("../../../sql/postgres/stored_days.sql"))
        .bind(keys.iter().map(|key| key.facility.id).collect::<Vec<Uuid>>())
        .bind(keys.iter().map(|key| key.day.date.to_string()).collect::<Vec<String>>())
        .bind(stamp.as_str())
        .fetch_all(tx)
        .await?;
    for row in &rows {
        found.now_ms = some_floor_ms(row, "now")?;
        if row.try_get::<Option<bool>, _>("is_watched")? != Some(true) {
            found.doubt = Some(Doubt::Unwatched);
        }
        // One that cannot be read is derived anew.
        let Ok(stored) = summary_row(row) else { continue };
        found.days.push(StoredDay {
            is_marked: row.try_get("is_marked")?,
            timezone: text(row, "timezone", "facilities", stored.summary.facility_id)?,
            row: stored,
        });
    }
    Ok(found)
}

/// The days of these facilities that have a stored row.
pub(super) async fn dates(pool: &PrimaryPool, facilities: &[Uuid]) -> Result<Vec<Key>> {
    let rows = sqlx::query(
        "SELECT facility_id, date::text AS date FROM dashboard_daily_summary WHERE facility_id = \
         ANY ($1)",
    )
    .bind(facilities)
    .fetch_all(pool)
    .await?;
    Ok(unreadable::skip(rows.iter().map(day), "dashboard_daily_summary"))
}

/// Of which day each stored row of these keys is. Those that cannot be read are left out.
pub(super) async fn bounds(pool: &PrimaryPool, keys: &[Key]) -> Result<Vec<StoredBounds>> {
    let (ids, dates) = columns(keys);
    let query = sqlx::query(include_str!("../../../sql/postgres/stored_bounds.sql"));
    let rows = query.bind(ids).bind(dates).fetch_all(pool).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let number: i64 = row.try_get("number")?;
        let key = keys[usize::try_from(number - 1).expect("an ordinality counts from 1")];
        match bounds_of(row, key) {
            Ok(bounds) => found.push(bounds),
            Err(error) => unreadable::note_summary(&key, &error),
        }
    }
    Ok(found)
}

fn bounds_of(row: &PgRow, key: Key) -> Result<StoredBounds> {
    check_figures(row.try_get("by_blood_type")?)?;
    Ok(StoredBounds { key, as_of_ms: some_floor_ms(row, "as_of")?, bounds: day_bounds(row)? })
}

/// The rows that differ from their sources. Where other programs write sources without marks, any
/// difference may be a change since the last refresh, and is explained by that.
pub(super) async fn audit<'c>(
    connection: impl Executor<'c, Database = Postgres>,
    statements: &SourceStatements,
    keys: &[DayKey],
) -> Result<Vec<Difference>> {
    let (ids, dates, starts, ends) = key_columns(keys);
    let query = sqlx::query(AssertSqlSafe(statements.audit.clone()))
        .bind(&ids)
        .bind(&dates)
        .bind(starts)
        .bind(ends);
    let mut rows = query.fetch_all(connection).await?;
    if statements.is_mapped {
        statements.odd_rows.see(&ids, &dates, &rows)?;
        rows.retain(|row| row.try_get("differs").unwrap_or(true));
    }
    let mut differences: Vec<Difference> = rows.iter().map(difference).collect::<Result<_>>()?;
    if statements.are_unwatched.load(Ordering::Relaxed) {
        differences.iter_mut().for_each(|difference| difference.explained = true);
    }
    Ok(differences)
}

fn difference(row: &PgRow) -> Result<Difference> {
    let is_stored: bool = row.try_get("stored")?;
    let stored = match is_stored {
        true => Some([
            row.try_get("old_stock")?,
            row.try_get("old_transferred")?,
            row.try_get("old_requests")?,
        ]),
        false => None,
    };
    Ok(Difference {
        facility_id: row.try_get("facility_id")?,
        date: date(row)?,
        stored,
        derived: [
            row.try_get("total_stock")?,
            row.try_get("total_transferred")?,
            row.try_get("total_requests")?,
        ],
        explained: row.try_get("explained")?,
        figures_differ: row.try_get("figures_differ")?,
        expires_too_late: row.try_get("expires_too_late")?,
        by_difference: row.try_get("by_difference")?,
        at_ms: row.try_get("at_ms")?,
    })
}

/// The keys as the four arrays that `derive.sql` unnests: facility ids, dates, starts and ends.
pub(super) fn key_columns(keys: &[DayKey]) -> (Vec<Uuid>, Vec<String>, Vec<i64>, Vec<i64>) {
    (
        keys.iter().map(|k| k.facility.id).collect(),
        keys.iter().map(|k| k.day.date.to_string()).collect(),
        keys.iter().map(|k| k.day.start_ms).collect(),
        keys.iter().map(|k| k.day.end_ms).collect(),
    )
}
