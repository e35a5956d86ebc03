//! The query parameters of each resource that takes some, with their bounds. `query` reads any
//! parameters; this file knows what a number or a cursor must be, so that the 400 for a wrong one
//! says it.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

pub use super::day_parameters::ListingParameters;
use super::{field_rules, problem::Problem, query};
pub use crate::cache::views::{SORTS, Sort};

/// The most days that one request may ask for.
pub const MOST_DAYS: usize = 400;
/// The most items of a page of facilities or of summaries.
pub const MOST_ITEMS: usize = 500;

pub(super) const A_CURSOR: &str = "the next_cursor of the page before";

/// The parameters of `GET /v1/facilities/{facility_id}/summaries/{date}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OneDay {
    /// The least version that the answer may have; 0 or more.
    #[serde(default, deserialize_with = "version")]
    pub min_version: i64,
}

/// The parameters of `GET /v1/facilities/{facility_id}/summaries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Range {
    /// The first day; `None` for seven days up to `to`.
    #[serde(default, deserialize_with = "query::date")]
    pub from: Option<Date>,
    /// The last day; `None` for today.
    #[serde(default, deserialize_with = "query::date")]
    pub to: Option<Date>,
    /// The most days of a page: 1 to `MOST_DAYS`.
    #[serde(default = "most_days", deserialize_with = "days")]
    pub limit: usize,
    /// The newest day of the page.
    #[serde(default, deserialize_with = "day")]
    pub cursor: Option<Date>,
    /// Everything of the facility up to this version must be in the answer; 0 or more.
    #[serde(default, deserialize_with = "version")]
    pub min_version: i64,
}

/// The parameters of `GET /v1/facilities`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Facilities {
    /// A text that the names must contain. Case, invisible characters and the way in which accents
    /// are composed do not matter.
    pub q: Option<String>,
    /// The owner's key of a mapped facility.
    pub key: Option<String>,
    /// The most facilities of a page: 1 to `MOST_ITEMS`.
    #[serde(default = "usual_items", deserialize_with = "items")]
    pub limit: usize,
    /// Where the page begins.
    #[serde(default, deserialize_with = "name_and_id")]
    pub cursor: Option<FacilityCursor>,
}

/// The parameters of `GET /v1/audit-log`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditLog {
    /// The most entries of a page: 1 to `MOST_ITEMS`.
    #[serde(default = "usual_items", deserialize_with = "items")]
    pub limit: usize,
    /// The last entry of the page before.
    #[serde(default, deserialize_with = "entry")]
    pub cursor: Option<i64>,
    /// Only what was done so, such as `key.added`.
    #[serde(default, deserialize_with = "text")]
    pub action: Option<String>,
    /// Only what was done by this one.
    #[serde(default, deserialize_with = "text")]
    pub actor: Option<String>,
    /// Only what was done to this one.
    #[serde(default, deserialize_with = "text")]
    pub subject: Option<String>,
}

/// The parameters of `POST /v1/facilities/{facility_id}/refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refresh {
    /// The day; `None` for today.
    #[serde(default, deserialize_with = "query::date")]
    pub date: Option<Date>,
}

macro_rules! read_from_queries {
    ($($parameters:ident $known:expr,)*) => {$(
        impl $parameters {
            /// Reads a query without its `?`. 400 for a parameter that cannot be read or is out of
            /// bounds; the answer names it and what would be right.
            pub fn read(query: &str) -> Result<Self, Problem> {
                query::parse(query, &$known)
            }
        }
    )*};
}

read_from_queries! {
    OneDay ["min_version"],
    Range ["from", "to", "limit", "cursor", "min_version"],
    Facilities ["q", "key", "limit", "cursor"],
    AuditLog ["limit", "cursor", "action", "actor", "subject"],
    Refresh ["date"],
}

/// Where a page of facilities begins: the id and the name of its first facility. Clients treat the
/// text as opaque. The facility may have been removed by the time that the page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilityCursor {
    /// The facility's name; pages are sorted by it.
    pub name: String,
    /// The facility's id, which decides between equal names.
    pub id: Uuid,
}

impl FacilityCursor {
    /// Reads a text that `Display` wrote; `None` for any other.
    fn read(text: &str) -> Option<Self> {
        let (id, name) = text.split_at_checked(32)?;
        let digit = |byte: u8| {
            matches!(byte, b'0'..=b'9' | b'a'..=b'f')
                .then(|| char::from(byte).to_digit(16))
                .flatten()
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        };
        let name = name.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
        let id =
            id.bytes().all(|b| digit(b).is_some()).then(|| Uuid::try_parse(id).ok()).flatten()?;
        Some(FacilityCursor { name: String::from_utf8(name).ok()?, id })
    }
}

impl fmt::Display for FacilityCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id.simple())?;
        self.name.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const fn most_days() -> usize {
    MOST_DAYS
}

pub(super) const fn usual_items() -> usize {
    100
}

fn entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let rule = |text: &str| text.parse().ok().filter(|id: &i64| *id > 0);
    query::value(deserializer, &rule, &A_CURSOR).map(Some)
}

/// A text that an entry may have.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let rule = |text: &str| {
        let is_text = !text.is_empty() && !text.contains(char::is_control);
        is_text.then(|| text.to_owned())
    };
    query::value(deserializer, &rule, &"a text that is not empty, without control characters")
        .map(Some)
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let rule = |text: &str| text.parse().ok().filter(|version| *version >= 0);
    query::value(deserializer, &rule, &format_args!("a whole number from 0 to {}", i64::MAX))
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    page(deserializer, MOST_DAYS)
}

pub(super) fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    page(deserializer, MOST_ITEMS)
}

fn page<'de, D: Deserializer<'de>>(deserializer: D, most: usize) -> Result<usize, D::Error> {
    let rule = |text: &str| text.parse().ok().filter(|length| (1..=most).contains(length));
    query::value(deserializer, &rule, &format_args!("a whole number from 1 to {most}"))
}

fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    query::value(deserializer, &field_rules::parse_asked_date, &A_CURSOR).map(Some)
}

fn name_and_id<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<FacilityCursor>, D::Error> {
    query::value(deserializer, &FacilityCursor::read, &A_CURSOR).map(Some)
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
