//! Writing summary rows, with their counters and their outbox rows.

use sqlx::{Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::pool::Borrowed;
use crate::{
    domain::summary::SummaryRow,
    store::{Result, StoreError},
};

/// Writes derived rows, also of days that have none yet.
pub(super) async fn put(tx: &mut Borrowed, rows: &[&SummaryRow]) -> Result<()> {
    let query = sqlx::query(include_str!("../../../sql/postgres/write_summaries.sql"));
    bound(query, rows)
        .bind(column(rows, |r| r.bounds.map(|b| b.start_ms)))
        .bind(column(rows, |r| r.bounds.map(|b| b.end_ms)))
        .execute(tx)
        .await?;
    Ok(())
}

/// Updates rows that a difference was added to. `StoreError::Conflict` where one is gone.
pub(super) async fn update(tx: &mut Borrowed, rows: &[&SummaryRow]) -> Result<()> {
    let query = sqlx::query(include_str!("../../../sql/postgres/update_summaries.sql"));
    let updated = bound(query, rows).execute(tx).await?.rows_affected();
    if updated == rows.len() as u64 { Ok(()) } else { Err(StoreError::Conflict) }
}

fn column(rows: &[&SummaryRow], of: fn(&SummaryRow) -> Option<i64>) -> Vec<Option<i64>> {
    rows.iter().map(|row| of(row)).collect()
}

/// The parameters that both statements have.
fn bound<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &[&SummaryRow],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(rows.iter().map(|r| r.summary.facility_id).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|r| r.summary.date.to_string()).collect::<Vec<String>>())
        .bind(column(rows, |r| r.summary.total_stock))
        .bind(column(rows, |r| Some(r.summary.total_transferred)))
        .bind(column(rows, |r| Some(r.summary.total_requests)))
        .bind(rows.iter().map(|r| r.summary.blood_types_json()).collect::<Vec<String>>())
        .bind(column(rows, |r| Some(r.as_of_ms)))
        .bind(column(rows, |r| r.next_expires_at_ms))
        .bind(column(rows, |r| r.summary.updated_at))
        .bind(column(rows, |r| Some(r.summary.version)))
}
