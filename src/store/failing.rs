//! Days whose mapped rows cannot be counted, as an expression of the mapping fails on one of them.
//! Their figures stay as they are, with the instant as of which they were right; all other days go
//! on.

use async_trait::async_trait;
use jiff::civil::Date;
use uuid::Uuid;

use super::{Result, StoreError};
use crate::domain::summary::DayKey;

/// A day that cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingDay {
    /// The facility.
    pub facility_id: Uuid,
    /// The day; `None`: which days the facility has cannot be told.
    pub date: Option<Date>,
    /// The list of the mapping where it is known, and what the server says, as in
    /// `sources.stock[0]: division by zero`.
    pub words: String,
}

/// The days that cannot be counted, as of the last drain snapshot.
#[derive(Debug, Clone, Default)]
pub struct FailingDays {
    /// How many days.
    pub days: i64,
    /// Of how many facilities.
    pub facilities: i64,
    /// Some of them.
    pub first: Vec<FailingDay>,
}

/// What a store keeps of them. Only mapped tables have such days.
#[async_trait]
pub trait FailingLog {
    /// Whether the error is about the values of rows, and such days are kept: then other facilities
    /// can be counted.
    fn is_of_rows(&self, _error: &StoreError) -> bool {
        false
    }

    /// Those of the last drain snapshot.
    fn failing(&self) -> FailingDays {
        FailingDays::default()
    }

    /// What is wrong with the rows of this day, in words that name the list.
    async fn failing_words(&self, _key: &DayKey, error: &StoreError) -> String {
        error.to_string()
    }

    /// Those that were tried the longest time ago, at most `limit`.
    async fn failing_to_try(&self, _limit: usize) -> Result<Vec<FailingDay>> {
        Ok(Vec::new())
    }

    /// Ends these, unless they were tried in vain since they were read.
    async fn forget_failing(&self, _days: &[FailingDay]) -> Result<()> {
        Ok(())
    }
}
