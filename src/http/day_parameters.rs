//! The query parameters of the day of all facilities.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::{field_rules, parameters, problem::Problem, query};
use crate::{
    cache::views::{Bound, DayCursor, DayQuery, SORTS, Sort},
    domain::{blood_type::BloodType, names::sought, totals::Figure},
};

const KNOWN: [&str; 9] =
    ["limit", "cursor", "sort", "q", "facility_id", "blood_type", "below", "above", "fields"];

/// The parameters of `GET /v1/summaries/{date}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListingParameters {
    /// The most summaries of a page: 1 to `parameters::MOST_ITEMS`.
    #[serde(default = "parameters::usual_items", deserialize_with = "parameters::items")]
    pub limit: usize,
    /// Where the page begins.
    #[serde(default, deserialize_with = "cursor")]
    pub cursor: Option<DayCursor>,
    /// The order of the facilities.
    #[serde(default, deserialize_with = "order")]
    pub sort: Sort,
    /// A text that the names must contain. Case, invisible characters and the way in which accents
    /// are composed do not matter.
    pub q: Option<String>,
    /// Only these facilities. The parameter may be sent several times.
    #[serde(default, deserialize_with = "facilities")]
    pub facility_id: Option<HashSet<Uuid>>,
    /// Only the figures of this type; bounds are on them.
    #[serde(default, deserialize_with = "blood_type")]
    pub blood_type: Option<BloodType>,
    /// Only facilities whose figure is below this.
    #[serde(default, deserialize_with = "bound")]
    pub below: Option<Bound>,
    /// Only facilities whose figure is above this.
    #[serde(default, deserialize_with = "bound")]
    pub above: Option<Bound>,
    /// `totals`: the figures by blood type are left out.
    #[serde(default, deserialize_with = "totals_only")]
    pub fields: bool,
}

impl ListingParameters {
    /// Reads a query without its `?`. 400 for a parameter that cannot be read or is out of bounds;
    /// the answer names it and what would be right.
    pub fn read(query: &str) -> Result<Self, Problem> {
        let read: ListingParameters = query::parse_with_lists(query, &KNOWN, &["facility_id"])?;
        match &read.cursor {
            Some(cursor) if !cursor.is_of(read.sort) => Err(unknown_cursor(cursor)),
            _ => Ok(read),
        }
    }

    /// The query, as views know it.
    pub fn into_query(self) -> DayQuery {
        DayQuery {
            limit: self.limit,
            cursor: self.cursor,
            sort: self.sort,
            name: self.q.map(|q| sought(&q)).filter(|q| !q.is_empty()),
            facilities: self.facility_id,
            blood_type: self.blood_type,
            below: self.below,
            above: self.above,
            without_types: self.fields,
            has_own_version: false,
        }
    }
}

/// A 400 for a cursor of another order, or of a facility that is gone.
pub fn unknown_cursor(cursor: &DayCursor) -> Problem {
    query::invalid("cursor", cursor, parameters::A_CURSOR)
}

fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DayCursor>, D::Error> {
    query::value(deserializer, &DayCursor::read, &parameters::A_CURSOR).map(Some)
}

fn order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sort, D::Error> {
    query::value(deserializer, &Sort::named, &format_args!("one of {}", SORTS.join(", ")))
}

fn facilities<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<HashSet<Uuid>>, D::Error> {
    // The nil UUID is accepted, too: other programs may have written it into the table.
    let id = |text: &str| {
        Uuid::try_parse(text).ok().filter(|id| id.is_nil()).or(field_rules::parse_id(text))
    };
    let rule = |text: &str| text.split(',').map(id).collect::<Option<HashSet<Uuid>>>();
    let expected = "a UUID such as 0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d, once for each facility";
    query::value(deserializer, &rule, &expected).map(Some)
}

fn blood_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BloodType>, D::Error> {
    // In a query, a plus that is not written %2B means a space, and no type ends with a space.
    let rule = |text: &str| match (text, text.strip_suffix(' ')) {
        ("unknown", _) => Some(BloodType::Unknown),
        (_, Some(group)) => BloodType::from_canonical(&format!("{group}+")),
        (text, None) => BloodType::from_canonical(text),
    };
    let names = BloodType::NAMED.map(BloodType::as_str).join(", ");
    query::value(deserializer, &rule, &format_args!("one of {names}, unknown")).map(Some)
}

fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bound>, D::Error> {
    let rule = |text: &str| {
        let (name, value) = text.split_once(':')?;
        let figure = Figure::ALL.into_iter().find(|figure| figure.as_str() == name)?;
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        Some(Bound { figure, value: value.parse().ok().filter(|_| digits)? })
    };
    let expected = "stock, transferred or requests with a whole number, such as stock:20";
    query::value(deserializer, &rule, &expected).map(Some)
}

fn totals_only<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    query::value(deserializer, &|text: &str| (text == "totals").then_some(true), &"totals")
}

#[cfg(test)]
#[path = "day_parameters_tests.rs"]
mod tests;
