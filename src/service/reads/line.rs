//! The line of a read in the log.

use std::time::Duration;

use jiff::civil::Date;
use tracing::Span;
use uuid::Uuid;

/// What the line of a read says. It is written when this is dropped: whoever waits for the answer
/// drops it when the answer has left, as writing a line takes longer than a look into memory.
#[derive(Debug)]
pub struct ReadLine {
    /// The request that it belongs to.
    pub(super) span: Span,
    pub(super) facility_id: Uuid,
    pub(super) date: Date,
    pub(super) outcome: &'static str,
    pub(super) tier: &'static str,
    pub(super) age_ms: i64,
    /// How long the read took.
    pub(super) taken: Duration,
    pub(super) refreshed: bool,
    pub(super) answered: bool,
}

impl Drop for ReadLine {
    fn drop(&mut self) {
        let _of_the_request = self.span.enter();
        tracing::info!(
            facility_id = %self.facility_id,
            date = %self.date,
            outcome = self.outcome,
            tier = self.tier,
            age_seconds = self.age_ms / 1000,
            duration_ms = self.taken.as_secs_f64() * 1000.0,
            refreshed = self.refreshed,
            answered = self.answered,
            "summary read"
        );
    }
}
