//! Compares figures with those that the owner's own queries give (`[[sources.check]]`), all in one
//! snapshot.

use std::collections::HashMap;

use jiff::civil::Date;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{SourceStatements, keys};
use crate::{
    config::sources::OwnersQuery,
    domain::summary::{DayKey, Key, KnownFigures},
    store::{CheckReport, OtherFigure, Result, StoreError, postgres::stored_days, said},
};

/// A row of an owner's query.
struct OwnersRow {
    facility_id: Option<Uuid>,
    facility: String,
    date: String,
    figure: String,
    /// As the query gives it, without a rounding.
    value: String,
}

/// The columns of our figures, by their names in an owner's query.
const FIGURES: [(&str, &str); 3] =
    [("stock", "total_stock"), ("deliveries", "total_transferred"), ("requests", "total_requests")];

/// Carries out the queries. `day` gives the day of a facility, if it knows the facility and the
/// date has begun there.
///
/// A query that fails, or gives other columns than it should, is named, and hides no other.
///
/// # Errors
/// The database fails.
pub(in crate::store::postgres) async fn check(
    connection: &mut PgConnection,
    statements: &SourceStatements,
    queries: &[OwnersQuery],
    day: &(dyn Fn(Uuid, Date) -> Option<DayKey> + Sync),
) -> Result<CheckReport> {
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // It keeps the locks of all its queries, so it waits for none.
    sqlx::raw_sql("SET LOCAL lock_timeout = '50ms'").execute(&mut *tx).await?;
    let mut report = CheckReport::default();
    let kept = keys::kept(&mut tx).await?;
    for (nth, query) in queries.iter().enumerate() {
        let name = format!("sources.check[{nth}]");
        sqlx::raw_sql("SAVEPOINT query").execute(&mut *tx).await?;
        let rows = match rows_of(&mut tx, query, &kept).await {
            Ok(rows) => rows,
            Err(error) if error.as_database_error().is_none() && !is_of_a_value(&error) => {
                return Err(error.into());
            }
            Err(error) => {
                sqlx::raw_sql("ROLLBACK TO SAVEPOINT query").execute(&mut *tx).await?;
                let words = said(&error);
                let what = match StoreError::from(error) {
                    StoreError::Locked(_) => {
                        "was not compared: a table of it is locked, or it takes too long; the next \
                         comparison tries again"
                    }
                    error if error.is_of_rows() => "fails on a row",
                    _ => "must give the columns facility, date, figure and value",
                };
                report.failed.push(format!("{} {what}: {words}", query.place));
                continue;
            }
        };
        compare(&mut tx, statements, &name, &rows, day, &mut report).await?;
    }
    tx.rollback().await?;
    Ok(report)
}

async fn rows_of(
    connection: &mut PgConnection,
    query: &OwnersQuery,
    kept: &str,
) -> sqlx::Result<Vec<OwnersRow>> {
    let [ours, asked] =
        ["k.key::text", "theirs.facility::text"].map(|text| keys::normal(kept, text));
    let select = format!(
        "SELECT (SELECT k.facility_id FROM facility_key k WHERE {ours} = {asked} LIMIT 1) AS \
         facility_id, coalesce(theirs.facility::text, 'null'::text) AS \
         facility, coalesce(theirs.date::text, 'null'::text) AS date, \
         coalesce(theirs.figure::text, 'null'::text) AS figure, \
         coalesce(trim_scale(theirs.value::numeric)::text, 'null'::text) AS value FROM ({}\n) AS \
         theirs",
        query.sql.trim().trim_end_matches(';')
    );
    let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(connection).await?;
    rows.iter().map(owners_row).collect()
}

fn owners_row(row: &PgRow) -> sqlx::Result<OwnersRow> {
    Ok(OwnersRow {
        facility_id: row.try_get("facility_id")?,
        facility: row.try_get("facility")?,
        date: row.try_get("date")?,
        figure: row.try_get("figure")?,
        value: row.try_get("value")?,
    })
}

/// Whether the error is about a column, or its value.
fn is_of_a_value(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. })
}

/// Derives the days that the rows are about, and notes what differs.
async fn compare(
    connection: &mut PgConnection,
    statements: &SourceStatements,
    name: &str,
    rows: &[OwnersRow],
    day: &(dyn Fn(Uuid, Date) -> Option<DayKey> + Sync),
    report: &mut CheckReport,
) -> Result<()> {
    let mut days: HashMap<Key, DayKey> = HashMap::new();
    for row in rows {
        let date = row.date.parse::<Date>().ok();
        if let Some(key) = row.facility_id.zip(date).and_then(|(id, date)| day(id, date)) {
            days.insert(key.id(), key);
        }
    }
    let derived = derive(connection, statements, &days).await?;
    let KnownFigures { stock, transferred, requests } = statements.known;
    let have_lists = [stock, transferred, requests];
    for row in rows {
        report.compared += 1;
        let key = row.facility_id.zip(row.date.parse::<Date>().ok());
        let key = key.map(|(facility_id, date)| Key { facility_id, date });
        let place = FIGURES.iter().position(|(figure, _)| *figure == row.figure);
        let ours = match (key.and_then(|key| derived.get(&key)), place) {
            (_, Some(place)) if !have_lists[place] => Err("the mapping has no list of it"),
            (Some(figures), Some(place)) => Ok(figures[place]),
            (_, None) => Err("the figure must be stock, deliveries or requests"),
            (None, _) => Err("no such facility is mapped, or the date has not begun there"),
        };
        if ours != Ok(row.value.parse().ok()) || ours == Ok(None) {
            report.differences.push(OtherFigure {
                check: name.to_owned(),
                facility: row.facility.clone(),
                date: row.date.clone(),
                figure: row.figure.clone(),
                theirs: row.value.clone(),
                ours,
            });
        }
    }
    Ok(())
}

/// The figures of these days in this snapshot.
async fn derive(
    connection: &mut PgConnection,
    statements: &SourceStatements,
    days: &HashMap<Key, DayKey>,
) -> Result<HashMap<Key, [Option<i64>; 3]>> {
    let mut derived = HashMap::new();
    let keys: Vec<DayKey> = days.values().cloned().collect();
    for chunk in keys.chunks(500) {
        let (ids, dates, starts, ends) = stored_days::key_columns(chunk);
        let rows = sqlx::query(AssertSqlSafe(statements.derive.clone()))
            .bind(ids)
            .bind(dates)
            .bind(starts)
            .bind(ends)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            let date: String = row.try_get("date")?;
            let Ok(date) = date.parse() else { continue };
            let key = Key { facility_id: row.try_get("facility_id")?, date };
            let mut figures = [None; 3];
            for (figure, (_, column)) in figures.iter_mut().zip(FIGURES) {
                *figure = row.try_get(column)?;
            }
            derived.insert(key, figures);
        }
    }
    Ok(derived)
}
