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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    /// The most facilities of a page: 1 to `MOST_ITEMS`.
    #[serde(default = "usual_items", deserialize_with = "items")]
    pub limit: usize,
    /// Where the page begins.
    #[serde(default, deserialize_with = "name_and_id")]
    pub cursor: Option<FacilityCursor>,
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
    Facilities ["q", "limit", "cursor"],
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
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_bounds_of_its_resource_and_not_those_of_a_type() {
        let refusal = |read: Result<(), Problem>| read.unwrap_err().detail().to_owned();
        for value in ["5.0", "", "0", "-1", "501", "99999999999999999999999", "five", "0x5", "5%20"]
        {
            let shown = value.replace("%20", " ");
            let want = format!(
                "The query parameter `limit` is \"{shown}\"; expected a whole number from 1 to "
            );
            let query = format!("limit={value}");
            assert_eq!(refusal(Facilities::read(&query).map(drop)), format!("{want}500."));
            assert_eq!(refusal(ListingParameters::read(&query).map(drop)), format!("{want}500."));
            assert_eq!(refusal(Range::read(&query).map(drop)), format!("{want}400."));
        }
        for value in ["", "-1", "two", "5.0", "1e3", "9223372036854775808"] {
            let expected = "a whole number from 0 to 9223372036854775807";
            let want =
                format!("The query parameter `min_version` is \"{value}\"; expected {expected}.");
            assert_eq!(refusal(OneDay::read(&format!("min_version={value}")).map(drop)), want);
        }
        for value in ["zz", "", "{0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d}", "0b6c8f0e54f1"] {
            let want = format!(
                "The query parameter `cursor` is \"{value}\"; expected the next_cursor of the \
                 page before."
            );
            assert_eq!(
                refusal(ListingParameters::read(&format!("cursor={value}")).map(drop)),
                want
            );
            assert_eq!(refusal(Facilities::read(&format!("cursor={value}")).map(drop)), want);
            assert_eq!(refusal(Range::read(&format!("cursor={value}")).map(drop)), want);
        }
        assert!(
            refusal(ListingParameters::read("sort=size").map(drop))
                .contains("`sort` is \"size\"; expected one of name, -name, total_stock, ")
        );
        for value in
            ["today", "1899-12-31", "0001-01-01", "2026-02-30", "12026-01-01", " 2026-01-01"]
        {
            let expected = "a calendar date such as 2026-11-21, from 1900-01-01 on";
            let want =
                |name| format!("The query parameter `{name}` is \"{value}\"; expected {expected}.");
            assert_eq!(refusal(Refresh::read(&format!("date={value}")).map(drop)), want("date"));
            assert_eq!(refusal(Range::read(&format!("from={value}")).map(drop)), want("from"));
            assert_eq!(refusal(Range::read(&format!("to={value}")).map(drop)), want("to"));
        }
    }

    #[test]
    fn a_date_that_is_far_from_its_day_can_be_read_all_the_same() {
        for value in ["1900-01-01", "2200-01-01", "2999-01-01", "9999-12-31"] {
            let date = Some(value.parse().unwrap());
            assert_eq!(Refresh::read(&format!("date={value}")), Ok(Refresh { date }));
            assert_eq!(Range::read(&format!("to={value}")).map(|range| range.to), Ok(date));
        }
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        assert_eq!(OneDay::read(""), Ok(OneDay { min_version: 0 }));
        assert_eq!(
            Range::read(""),
            Ok(Range { from: None, to: None, limit: 400, cursor: None, min_version: 0 })
        );
        assert_eq!(
            Facilities::read("q="),
            Ok(Facilities { q: Some(String::new()), limit: 100, cursor: None })
        );
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_in_no_other_way() {
        let cursor = FacilityCursor { name: "Łódź 2".into(), id: Uuid::from_u128(7) };
        let text = cursor.to_string();
        assert_eq!(FacilityCursor::read(&text), Some(cursor));
        for wrong in [
            text.to_uppercase(),
            text[..31].to_owned(),
            format!("{text}+1"),
            format!("{text}f"),
            format!("{text}ff"),
        ] {
            assert_eq!(FacilityCursor::read(&wrong), None, "{wrong}");
        }
    }
}
