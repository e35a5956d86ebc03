//! What was written to a fleet and what it answered: a log of writes and a record of answers. This
//! module does not know the code of the service.
//!
//! There is one clock: the database's, in milliseconds. Writers keep to *lanes*, so that every
//! figure tells which writes it holds. A lane is a pair of blood types of one facility, and one
//! writer, who sends one write at a time: number n sets the stock of both types to n and makes one
//! request. A reader of the lane sees the newest number twice, and how many numbers took effect.

use std::collections::BTreeSet;

use jiff::civil::Date;

/// How far a replica's estimate of the database's clock may be behind it: about the time that an
/// answer takes on a busy machine.
pub const CLOCK_MS: i64 = 50;

/// One write of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// 1, 2, 3, … without a gap, in the order of sending.
    pub number: i64,
    /// The time before it was sent, and the time after it was answered or given up.
    pub sent_ms: i64,
    pub over_ms: i64,
    pub fate: Fate,
}

/// The answer to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is durable and in the summaries.
    Acknowledged,
    /// It was not applied, and never will be.
    Refused,
    /// No answer came, or the answer says that the outcome is unknown: the write took effect wholly
    /// or not at all.
    Unknown,
}

/// Figures of a lane in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub lane: usize,
    /// The stocks of its two types; 0 before the first write.
    pub stocks: [i64; 2],
    pub requests: i64,
}

/// One facility-day as a reader received it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// One reader, for as long as it passes the greatest version that it saw as `min_version`;
    /// `None` for those that pass none.
    pub session: Option<usize>,
    pub replica: usize,
    pub facility: usize,
    pub date: Date,
    pub asked_ms: i64,
    pub answered_ms: i64,
    pub age_seconds: i64,
    /// `max-age` of the request, in seconds.
    pub bound_seconds: Option<i64>,
    pub min_version: Option<i64>,
    pub version: i64,
    /// A hash of the body.
    pub body: u64,
    pub shown: Vec<Shown>,
    /// `Cache-Status`, for the text of a complaint.
    pub source: String,
}

impl Answer {
    /// The latest instant that the figures certainly claim to be exact as of. The service read its
    /// clock after the request came, and `Age` is rounded down to the second.
    pub fn claims_ms(&self) -> i64 {
        self.asked_ms - 1000 * (self.age_seconds + 1) - CLOCK_MS
    }
}

/// The database lost commits: a standby that lacked some was promoted, or a backup was restored.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Before this instant nothing was written to the new epoch.
    pub at_ms: i64,
    /// By lane: the numbers that the new epoch began with.
    pub survived: Vec<BTreeSet<i64>>,
}

/// All that was written and answered.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By lane.
    pub writes: Vec<Vec<Write>>,
    pub answers: Vec<Answer>,
    /// There is at most one.
    pub loss: Option<Loss>,
    /// By lane: the numbers whose request is in the table at the end.
    pub stored: Vec<BTreeSet<i64>>,
    /// The time when all writers had ended.
    pub ended_ms: i64,
}
