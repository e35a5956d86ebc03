//! What readers asked and were answered.

use jiff::civil::Date;
use uuid::Uuid;

use super::truth::Window;
use crate::history::CLOCK_MS;

/// The types in the order of the figures, with the names of `by_blood_type`.
pub const TYPES: [&str; 9] = ["O+", "O-", "A+", "A-", "B+", "B-", "AB+", "AB-", "unknown"];
/// `freshness.max_age`, which applies if a request has no bound, in seconds.
pub const DEFAULT_BOUND_SECONDS: i64 = 300;

/// A figure by type, in the order of [`TYPES`].
pub type ByType = [i64; TYPES.len()];

/// A request, and when it was sent and answered.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub replica: usize,
    /// The path with its query.
    pub path: String,
    pub asked_ms: i64,
    pub answered_ms: i64,
    /// `max-age`; `no-cache` is 0.
    pub bound_seconds: Option<i64>,
    /// `max-stale`, with its limit in seconds or without a limit.
    pub max_stale: Option<Option<i64>>,
    pub only_if_cached: bool,
    pub min_version: Option<i64>,
    /// If the request names the version of an acknowledgement, the answer must have what was
    /// committed when that event was sent.
    pub floor_ms: Option<i64>,
    /// `If-None-Match` was sent.
    pub conditional: bool,
    /// There was no fault then, and none for some time before.
    pub quiet: bool,
}

/// One day of one facility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub facility: Uuid,
    pub date: Date,
    /// `None` if `total_stock` is null.
    pub stock: Option<ByType>,
    pub transferred: ByType,
    pub requests: ByType,
    /// The totals in the answer: stock, transferred, requests.
    pub totals: (Option<i64>, i64, i64),
    pub version: i64,
    /// A hash of the body.
    pub body: u64,
}

/// A facility as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub facility: Uuid,
    pub name: String,
    pub zone: String,
    /// Only in the answer about one facility.
    pub today: Option<Date>,
}

/// The content of an answer.
#[derive(Debug, Clone)]
pub enum Said {
    /// The request was for `today` if `date` is `None`.
    Summary {
        date: Option<Date>,
        item: Box<Item>,
    },
    Range {
        facility: Uuid,
        from: Date,
        to: Date,
        items: Vec<Item>,
    },
    /// All pages. `totals` are only there if there was one page: facilities, stock, transferred,
    /// requests.
    Listing {
        date: Option<Date>,
        items: Vec<Item>,
        totals: Option<(i64, i64, i64, i64)>,
    },
    Directory(Vec<Entry>),
    Facility(Entry),
    /// 404, for a facility or a day of it.
    Missing {
        facility: Uuid,
        date: Option<Date>,
    },
    /// 404 for a listing: the day has not begun anywhere.
    MissingDay(Date),
    /// 503, 504 and any other status, with the text.
    Refused(u16, String),
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub asked: Asked,
    pub age_seconds: Option<i64>,
    /// `Cache-Status`.
    pub source: String,
    pub said: Said,
}

impl Answer {
    /// From the instant that the answer claims at least to be exact as of, to its arrival. An
    /// answer without an age counts with the bound of its request.
    pub fn window(&self) -> Window {
        let Asked { asked_ms, answered_ms, bound_seconds, max_stale, floor_ms, .. } = self.asked;
        let by_bound = match (bound_seconds, max_stale) {
            (_, Some(None)) => i64::MIN,
            (bound, stale) => {
                let bound = bound.unwrap_or(DEFAULT_BOUND_SECONDS) + stale.flatten().unwrap_or(0);
                // `no-cache`: the read began after the request had come.
                asked_ms - 1000 * bound
            }
        };
        // An outage may be longer than the default bound. The ages of the answers tell this.
        let by_bound =
            if bound_seconds.is_none() && self.age_seconds.is_some() { i64::MIN } else { by_bound };
        let by_age = self.age_seconds.map_or(i64::MIN, |age| asked_ms - 1000 * (age + 1));
        let from_ms = by_bound.max(by_age).max(floor_ms.unwrap_or(i64::MIN));
        Window { from_ms: from_ms.saturating_sub(CLOCK_MS).min(answered_ms), to_ms: answered_ms }
    }
}

/// An event that stated one row.
#[derive(Debug, Clone)]
pub struct Stated {
    pub kind: Stating,
    pub id: Uuid,
    /// The `time` of the event.
    pub stated_ms: i64,
    pub over_ms: i64,
    pub fate: crate::history::Fate,
    /// The answer says that some events of the request were superseded.
    pub superseded: bool,
}

/// The table that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stating {
    Facility,
    Bank,
    Unit,
    Delivery,
    Request,
}
