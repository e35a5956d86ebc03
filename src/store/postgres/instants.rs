//! Instants as the driver receives them. The server would convert them to milliseconds by numbers
//! of any length, which takes longer than the look-up of their row.

use sqlx::{Row, ValueRef, postgres::PgRow};

/// 2000-01-01, from which Postgres counts microseconds, in milliseconds since 1970.
const FROM_MS: i64 = 946_684_800_000;

/// A finite `timestamptz` in milliseconds since 1970, rounded down; `None` where it is null.
pub(super) fn floor_ms(row: &PgRow, column: &str) -> sqlx::Result<Option<i64>> {
    Ok(micros(row, column)?.map(|us| us.div_euclid(1_000) + FROM_MS))
}

/// The same, rounded up.
pub(super) fn ceil_ms(row: &PgRow, column: &str) -> sqlx::Result<Option<i64>> {
    Ok(micros(row, column)?.map(|us| FROM_MS - (-us).div_euclid(1_000)))
}

/// The same as `floor_ms` of a column that must not be null.
pub(super) fn some_floor_ms(row: &PgRow, column: &str) -> sqlx::Result<i64> {
    floor_ms(row, column)?.ok_or_else(|| undecodable(column, "it is null".into()))
}

/// Microseconds since 2000. Infinities are the least and the greatest number: a statement must not
/// return them.
fn micros(row: &PgRow, column: &str) -> sqlx::Result<Option<i64>> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let bytes = value.as_bytes().map_err(|error| undecodable(column, error))?;
    let bytes = bytes.try_into().map_err(|_| undecodable(column, "it is no instant".into()))?;
    Ok(Some(i64::from_be_bytes(bytes)))
}

fn undecodable(column: &str, source: sqlx::error::BoxDynError) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source }
}
