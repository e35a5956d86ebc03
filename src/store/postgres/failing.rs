//! Days whose mapped rows cannot be counted: the table of them, and what is wrong with each.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::civil::Date;
use sqlx::{AssertSqlSafe, Postgres, postgres::PgRow, query::Query};
use uuid::Uuid;

use super::{PostgresStore, json, pool::Borrowed, stored_days::key_columns};
use crate::{
    domain::summary::{DayKey, SummaryRow},
    store::{FailingDay, FailingDays, Result, StoreError, failing::FailingLog, said},
};

/// What the last drain snapshot said of them.
#[derive(Debug, Default)]
pub(super) struct Failing(Mutex<FailingDays>);

impl Failing {
    /// Takes note of the row of a drain snapshot.
    pub fn see(&self, row: &PgRow) -> Result<()> {
        type Said = (i64, i64, Vec<(Uuid, Option<Date>, String)>);
        let (days, facilities, first): Said = json(row, "failing")?;
        let first = first
            .into_iter()
            .map(|(facility_id, date, words)| FailingDay { facility_id, date, words })
            .collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            FailingDays { days, facilities, first };
        Ok(())
    }

    /// What it said.
    pub fn get(&self) -> FailingDays {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The facilities and dates of these days; `-infinity` for one that has none.
fn columns(days: &[FailingDay]) -> (Vec<Uuid>, Vec<String>) {
    let date = |day: &FailingDay| day.date.map_or("-infinity".into(), |date| date.to_string());
    days.iter().map(|day| (day.facility_id, date(day))).unzip()
}

/// Notes these days in a transaction.
pub(super) async fn note(tx: &mut Borrowed, days: &[FailingDay]) -> Result<()> {
    let (ids, dates) = columns(days);
    let words: Vec<&str> = days.iter().map(|day| &*day.words).collect();
    sqlx::query(include_str!("../../../sql/postgres/note_failing.sql"))
        .bind(ids)
        .bind(dates)
        .bind(words)
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends those whose rows were written just now, from their sources.
pub(super) async fn end(tx: &mut Borrowed, rows: &[&SummaryRow]) -> Result<()> {
    let (ids, dates): (Vec<Uuid>, Vec<String>) =
        rows.iter().map(|row| (row.summary.facility_id, row.summary.date.to_string())).unzip();
    forgotten(ids, dates).execute(tx).await?;
    Ok(())
}

fn forgotten<'q>(
    ids: Vec<Uuid>,
    dates: Vec<String>,
) -> Query<'q, Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(
        "DELETE FROM failing_day AS failing USING unnest($1::uuid[], $2::text[]) AS k \
         (facility_id, date) WHERE failing.facility_id = k.facility_id AND failing.date = \
         k.date::date",
    )
    .bind(ids)
    .bind(dates)
}

#[async_trait]
impl FailingLog for PostgresStore {
    fn is_of_rows(&self, error: &StoreError) -> bool {
        self.mapping.is_some() && error.is_of_rows()
    }

    fn failing(&self) -> FailingDays {
        self.statements.failing.get()
    }

    async fn failing_words(&self, key: &DayKey, error: &StoreError) -> String {
        let (ids, dates, starts, ends) = key_columns(std::slice::from_ref(key));
        for (list, statement) in &self.statements.of_lists {
            let read = sqlx::query(AssertSqlSafe(statement.clone()))
                .bind(&ids)
                .bind(&dates)
                .bind(&starts)
                .bind(&ends)
                .fetch_all(&self.pool)
                .await;
            if let Err(error @ sqlx::Error::Database(_)) = read {
                return format!("{list}: {}", said(&error));
            }
        }
        match error {
            StoreError::Refused(cause) | StoreError::Failed(cause) => cause.to_string(),
            error => error.to_string(),
        }
    }

    async fn failing_to_try(&self, limit: usize) -> Result<Vec<FailingDay>> {
        let days: Vec<(Uuid, Option<String>, String)> = sqlx::query_as(
            "SELECT facility_id, CASE WHEN isfinite(date) THEN date::text END, words FROM \
             failing_day ORDER BY tried_at, facility_id, date LIMIT $1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        Ok(days
            .into_iter()
            .map(|(facility_id, date, words)| FailingDay {
                facility_id,
                date: date.and_then(|date| date.parse().ok()),
                words,
            })
            .collect())
    }

    async fn forget_failing(&self, days: &[FailingDay]) -> Result<()> {
        let (ids, dates) = columns(days);
        forgotten(ids, dates).execute(&self.pool).await?;
        Ok(())
    }
}
