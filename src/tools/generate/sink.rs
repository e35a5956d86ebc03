//! The sink of generated rows: a trait, which Postgres and SQLite implement.

use std::{collections::HashSet, ops::Range, path::PathBuf, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    GenerateError, data_set::FacilitySeed, postgres::PostgresSink, progress::Progress,
    sqlite::SqliteSink,
};
use crate::{config::DatabaseSettings, domain::day::Day};

/// What was measured when a sample was loaded.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Rows that were loaded.
    pub rows: u64,
    /// How long that took.
    pub took: Duration,
    /// How many bytes the tables, their indexes and the marks grew.
    pub bytes: u64,
}

impl Sample {
    /// Rows loaded in a second.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64().max(1e-6)
    }

    /// Bytes that a row takes, with its indexes and marks.
    pub fn bytes_per_row(&self) -> f64 {
        self.bytes as f64 / self.rows.max(1) as f64
    }
}

/// One connection that loads rows and reads what was loaded. Ranges of ids are half-open.
#[async_trait]
pub trait Sink: Send {
    /// Loads a sample on the disk that the load will use, and leaves nothing of it.
    async fn sample(&mut self, facilities: &[FacilitySeed]) -> Result<Sample, GenerateError>;
    /// The folder of the database's data; `None` when it is not on this machine or not known.
    async fn folder(&mut self) -> Option<PathBuf>;
    /// Bytes that a load of `data_bytes`, with `chunk_bytes` in each transaction, needs temporarily
    /// in addition.
    async fn passing_bytes(
        &mut self,
        data_bytes: u64,
        chunk_bytes: u64,
    ) -> Result<u64, GenerateError>;
    /// The time of the newest statement about a facility.
    async fn event_time_ms(&mut self, facility: Uuid) -> Result<Option<i64>, GenerateError>;
    /// The facilities of this range that are there. Each is complete, since it was written in one
    /// transaction.
    async fn existing(&mut self, ids: Range<Uuid>) -> Result<HashSet<Uuid>, GenerateError>;
    /// Writes all rows of these facilities in one transaction.
    async fn load(
        &mut self,
        facilities: &[FacilitySeed],
        progress: &Progress,
    ) -> Result<(), GenerateError>;
    /// Lets the database do its maintenance now, so that it does not slow down the first reads.
    async fn settle(&mut self) -> Result<(), GenerateError>;
    /// The number of rows of a table in this range.
    async fn count(&mut self, table: &'static str, ids: Range<Uuid>) -> Result<u64, GenerateError>;
    /// The number of facility-days with a delivery and a request, of the facilities of this range
    /// in this zone.
    async fn active_days(
        &mut self,
        ids: Range<Uuid>,
        timezone: &str,
        days: &[Day],
    ) -> Result<u64, GenerateError>;
}

/// Opens the database, and brings its tables up to date.
pub async fn connect(database: &DatabaseSettings) -> Result<Box<dyn Sink>, GenerateError> {
    Ok(if database.is_postgres() {
        Box::new(PostgresSink::connect(database).await?)
    } else {
        Box::new(SqliteSink::connect(&database.url).await?)
    })
}

/// The first and last instant of each day, as two lists.
pub(super) fn bounds(days: &[Day]) -> (Vec<i64>, Vec<i64>) {
    days.iter().map(|day| (day.start_ms, day.end_ms)).unzip()
}
