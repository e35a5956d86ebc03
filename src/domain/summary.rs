//! A facility's figures of one local day: what the table keeps and the wire carries.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{blood_type::BloodType, day::Day, facility::Facility};

/// Which summary: of this facility, on this local day. Everything that holds summaries is keyed by
/// it.
pub type Key = (Uuid, Date);

/// One blood type's share of the totals. `stock` is null exactly where the day's total stock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Figures {
    /// Units in stock, unexpired.
    pub stock: Option<i64>,
    /// Units delivered to the facility on the day.
    pub transferred: i64,
    /// Requests made by the facility on the day, whatever their quantity.
    pub requests: i64,
}

/// The summary of a facility and local day. Its JSON is a pure function of (facility, date,
/// version).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Summary {
    pub facility_id: Uuid,
    /// `YYYY-MM-DD`, in the facility's own zone.
    #[schema(value_type = String, format = Date)]
    pub date: Date,
    /// Units now in the facility's blood banks, unexpired; of a past day, what it closed with;
    /// null where none was ever recorded.
    pub total_stock: Option<i64>,
    pub total_transferred: i64,
    pub total_requests: i64,
    /// The types that occur; the sums equal the totals.
    #[schema(value_type = std::collections::HashMap<String, Figures>)]
    pub by_blood_type: BTreeMap<BloodType, Figures>,
    /// When a figure last changed, with milliseconds; null for a day without a row.
    #[serde(with = "optional_instant")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<i64>,
    /// From one counter per facility; 0 for a day without a row.
    pub version: i64,
}

impl Summary {
    /// The answer for a day that has no row: zeros, and no stock where the day is past.
    pub fn empty(facility_id: Uuid, date: Date, is_past: bool) -> Self {
        Summary {
            facility_id,
            date,
            total_stock: (!is_past).then_some(0),
            total_transferred: 0,
            total_requests: 0,
            by_blood_type: BTreeMap::new(),
            updated_at: None,
            version: 0,
        }
    }

    /// The blood types as JSON, as both databases store them.
    pub fn blood_types_json(&self) -> String {
        serde_json::to_string(&self.by_blood_type)
            .expect("blood types are string keys, figures finite numbers")
    }

    /// The JSON body that every answer carries.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a summary has string keys and finite numbers only")
    }
}

/// A summary as stored, with what is known of its exactness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    pub summary: Summary,
    /// The figures equal their sources at this instant.
    pub as_of_ms: i64,
    /// Today's figures hold only until then (exclusive); null on closed days and where nothing
    /// expires.
    pub next_expires_at_ms: Option<i64>,
    /// Which day of that name it is; `None` where a release wrote the row that did not say.
    #[serde(default)]
    pub bounds: Option<Bounds>,
}

/// The instants `start_ms <= t < end_ms` of a local day: a date has others in another zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl From<&Day> for Bounds {
    fn from(day: &Day) -> Self {
        Bounds { start_ms: day.start_ms, end_ms: day.end_ms }
    }
}

impl Bounds {
    /// Of no day: what a facility that has moved leaves behind under the name of a day that is yet
    /// to come where it is now.
    pub const OF_NO_DAY: Bounds = Bounds { start_ms: 0, end_ms: 0 };

    /// Whether figures that were counted within `bounds`, as of that instant, are of the day. Those
    /// from before it began are not: a change of zone leaves such.
    pub fn are_of(bounds: Option<Bounds>, as_of_ms: i64, day: &Day) -> bool {
        as_of_ms >= day.start_ms && bounds.is_none_or(|bounds| bounds == Bounds::from(day))
    }
}

impl SummaryRow {
    pub const fn key(&self) -> Key {
        (self.summary.facility_id, self.summary.date)
    }

    /// Whether the figures are of this very day, and not of another zone's day of that name, as a
    /// facility leaves them behind that has moved since.
    pub fn is_of(&self, day: &Day) -> bool {
        Bounds::are_of(self.bounds, self.as_of_ms, day)
    }

    /// Whether the figures are of no day at all: see [`Bounds::OF_NO_DAY`].
    pub fn is_left_behind(&self) -> bool {
        self.bounds == Some(Bounds::OF_NO_DAY)
    }
}

/// What a refresh works on: a facility's day, with the zone that its bounds were taken from.
#[derive(Debug, Clone)]
pub struct DayKey {
    pub facility: std::sync::Arc<Facility>,
    pub day: Day,
}

impl DayKey {
    pub fn id(&self) -> Key {
        (self.facility.id, self.day.date)
    }
}

/// An instant as RFC 3339 in UTC with exactly three decimals.
pub fn rfc3339(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

mod optional_instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match ms {
            Some(ms) => serializer.serialize_str(&super::rfc3339(*ms)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(|at| at.as_millisecond()))
    }
}
