//! The figures of a facility on one local day, as the table keeps them and as answers carry them.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{blood_type::BloodType, day::Day, facility::Facility};

/// Names a summary: a facility and one of its local days. Everything that holds summaries uses it
/// as the key. Keys are ordered by facility, then by date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The facility.
    pub facility_id: Uuid,
    /// The day, in the facility's own zone.
    pub date: Date,
}

/// Which figures the sources have. Our own tables have all; a mapping may leave out some, which
/// answers then show as null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFigures {
    /// Units in stock.
    pub stock: bool,
    /// Units delivered.
    pub transferred: bool,
    /// Requests made.
    pub requests: bool,
}

impl KnownFigures {
    /// All of them.
    pub const ALL: KnownFigures = KnownFigures { stock: true, transferred: true, requests: true };
    /// None of them.
    pub const NONE: KnownFigures =
        KnownFigures { stock: false, transferred: false, requests: false };
}

impl Default for KnownFigures {
    fn default() -> Self {
        KnownFigures::ALL
    }
}

/// One blood type's share of the totals, as it is stored. `stock` is null exactly when the day's
/// total stock is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Units in stock, unexpired.
    pub stock: Option<i64>,
    /// Units delivered to the facility on the day.
    #[serde(deserialize_with = "null_as_0")]
    pub transferred: i64,
    /// Requests that the facility made on the day, with any quantity.
    #[serde(deserialize_with = "null_as_0")]
    pub requests: i64,
}

/// One blood type's share of the totals. Each is null exactly when the total is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Figures)]
pub struct ShownFigures {
    /// Units in stock, unexpired.
    pub stock: Option<i64>,
    /// Units delivered to the facility on the day.
    pub transferred: Option<i64>,
    /// Requests that the facility made on the day, with any quantity.
    pub requests: Option<i64>,
}

impl ShownFigures {
    /// The figures with null for those that are not known.
    pub fn of(figures: &Figures, known: KnownFigures) -> Self {
        ShownFigures {
            stock: figures.stock.filter(|_| known.stock),
            transferred: known.transferred.then_some(figures.transferred),
            requests: known.requests.then_some(figures.requests),
        }
    }
}

/// The summary of a facility and local day, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The facility.
    pub facility_id: Uuid,
    /// `YYYY-MM-DD`, in the facility's own zone.
    pub date: Date,
    /// Units now in the facility's blood banks, unexpired. For a past day, the units at its end;
    /// null when none was ever recorded.
    pub total_stock: Option<i64>,
    /// Units delivered to the facility on the day.
    #[serde(deserialize_with = "null_as_0")]
    pub total_transferred: i64,
    /// Requests that the facility made on the day.
    #[serde(deserialize_with = "null_as_0")]
    pub total_requests: i64,
    /// The types that occur on the day; their sums equal the totals.
    pub by_blood_type: BTreeMap<BloodType, Figures>,
    /// When a figure last changed, to the millisecond; null for a day without a row.
    #[serde(with = "optional_instant")]
    pub updated_at: Option<i64>,
    /// Grows with every change, from one counter for each facility; 0 for a day without a row.
    pub version: i64,
}

/// The summary of a facility and local day, as answers show it. The same (facility, date, version)
/// always gives the same JSON. A figure that the sources do not have is null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Summary)]
pub struct ShownSummary {
    /// The facility.
    facility_id: Uuid,
    /// `YYYY-MM-DD`, in the facility's own zone.
    #[schema(value_type = String, format = Date)]
    date: Date,
    /// Units now in the facility's blood banks, unexpired. For a past day, the units at its end;
    /// null when none was ever recorded.
    total_stock: Option<i64>,
    /// Units delivered to the facility on the day.
    total_transferred: Option<i64>,
    /// Requests that the facility made on the day.
    total_requests: Option<i64>,
    /// The types that occur on the day; their sums equal the totals.
    #[schema(value_type = std::collections::HashMap<String, ShownFigures>)]
    by_blood_type: BTreeMap<BloodType, ShownFigures>,
    /// When a figure last changed, to the millisecond; null for a day without a row.
    #[serde(with = "optional_instant")]
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<i64>,
    /// Grows with every change, from one counter for each facility; 0 for a day without a row.
    version: i64,
}

impl Summary {
    /// The answer for a day that has no row: zeros, and null as the stock of a past day.
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

    /// The blood types as the JSON that both databases store.
    pub fn blood_types_json(&self) -> String {
        serde_json::to_string(&self.by_blood_type)
            .expect("blood types are string keys, figures finite numbers")
    }

    /// The JSON body of every answer that carries the summary, with null for figures that are not
    /// known.
    pub fn to_json(&self, known: KnownFigures) -> Vec<u8> {
        json(&self.shown(known))
    }

    /// The JSON in a day of all facilities where the day cannot be counted: it has no figures, and
    /// says why.
    pub fn to_json_uncounted(&self) -> Vec<u8> {
        let shown = Summary { by_blood_type: BTreeMap::new(), ..self.clone() };
        json(&UncountedSummary { shown: shown.shown(KnownFigures::NONE), cannot_be_counted: true })
    }

    fn shown(&self, known: KnownFigures) -> ShownSummary {
        let total = ShownFigures::of(
            &Figures {
                stock: self.total_stock,
                transferred: self.total_transferred,
                requests: self.total_requests,
            },
            known,
        );
        let of_type = |(blood_type, figures): (&BloodType, &Figures)| {
            (*blood_type, ShownFigures::of(figures, known))
        };
        ShownSummary {
            facility_id: self.facility_id,
            date: self.date,
            total_stock: total.stock,
            total_transferred: total.transferred,
            total_requests: total.requests,
            by_blood_type: self.by_blood_type.iter().map(of_type).collect(),
            updated_at: self.updated_at,
            version: self.version,
        }
    }
}

/// The summary of a day that cannot be counted, as a day of all facilities shows it.
#[derive(Serialize)]
struct UncountedSummary {
    #[serde(flatten)]
    shown: ShownSummary,
    cannot_be_counted: bool,
}

fn json(shown: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(shown).expect("a summary has string keys and finite numbers only")
}

/// A summary as the table stores it, and for how long its figures hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The figures.
    pub summary: Summary,
    /// The figures equal their sources at this instant, in milliseconds since 1970.
    pub as_of_ms: i64,
    /// Today's figures hold until this instant (exclusive), when the next stock expires, in
    /// milliseconds since 1970. `None` for closed days, and when no stock expires.
    pub next_expires_at_ms: Option<i64>,
    /// The bounds of the day that the figures are of. `None` in a row that an earlier release
    /// wrote, which did not store them.
    #[serde(default)]
    pub bounds: Option<Bounds>,
}

/// The instants `start_ms <= t < end_ms` of a local day, in milliseconds since 1970. The same date
/// has other bounds in another zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The first instant of the day.
    pub start_ms: i64,
    /// The first instant after the day.
    pub end_ms: i64,
}

impl From<&Day> for Bounds {
    fn from(day: &Day) -> Self {
        Bounds { start_ms: day.start_ms, end_ms: day.end_ms }
    }
}

impl Bounds {
    /// The bounds of no day. When a facility moves to another zone, it may leave a row with the
    /// name of a day that has not yet begun in the new zone. Such a row gets these bounds.
    pub const OF_NO_DAY: Bounds = Bounds { start_ms: 0, end_ms: 0 };

    /// Whether figures that were counted within `bounds`, as of `as_of_ms`, are of the day `day`.
    /// Figures from before the day began are not: a change of zone leaves such rows.
    pub fn are_of(bounds: Option<Bounds>, as_of_ms: i64, day: &Day) -> bool {
        as_of_ms >= day.start_ms && bounds.is_none_or(|bounds| bounds == Bounds::from(day))
    }
}

impl SummaryRow {
    /// The facility and date of the row.
    pub const fn key(&self) -> Key {
        Key { facility_id: self.summary.facility_id, date: self.summary.date }
    }

    /// Whether the figures are of this day. When a facility moves to another zone, it leaves rows
    /// with the same date and the bounds of the old zone. Their figures are not of this day.
    pub fn is_of(&self, day: &Day) -> bool {
        Bounds::are_of(self.bounds, self.as_of_ms, day)
    }

    /// The row where its figures stay as they were at `as_of_ms`: no watermark counts for it, since
    /// it ends to hold right then. (What expires, expires after the instant of the figures.)
    pub fn kept_still(self, as_of_ms: i64) -> Self {
        SummaryRow { as_of_ms, next_expires_at_ms: Some(as_of_ms), ..self }
    }

    /// The row where it is known to be exact as of another instant, in milliseconds: of that, or of
    /// the last one before something expires. Figures that stay as they were still do.
    pub fn known_as_of(self, as_of_ms: i64) -> Self {
        if self.is_still() {
            return self.kept_still(as_of_ms);
        }
        let last_ms = self.next_expires_at_ms.map_or(i64::MAX, |at_ms| at_ms.saturating_sub(1));
        SummaryRow { as_of_ms: as_of_ms.min(last_ms), ..self }
    }

    /// Whether the figures stay as they were, because the day cannot be counted.
    pub fn is_still(&self) -> bool {
        self.next_expires_at_ms.is_some_and(|at_ms| at_ms <= self.as_of_ms)
    }

    /// Whether the figures belong to no day: see [`Bounds::OF_NO_DAY`].
    pub fn is_left_behind(&self) -> bool {
        self.bounds == Some(Bounds::OF_NO_DAY)
    }
}

/// What a refresh works on: a facility and its day. The day's bounds come from the facility's zone.
#[derive(Debug, Clone)]
pub struct DayKey {
    /// The facility, with the zone that gave the day its bounds.
    pub facility: std::sync::Arc<Facility>,
    /// The local day.
    pub day: Day,
}

impl DayKey {
    /// The key of the day's summary.
    pub fn id(&self) -> Key {
        Key { facility_id: self.facility.id, date: self.day.date }
    }
}

/// An instant as RFC 3339 in UTC, with exactly three decimals.
pub fn rfc3339(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// Reads a figure; null, as an answer shows a figure that is not known, as 0.
fn null_as_0<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0))
}

/// Writes and reads an instant as RFC 3339 text or null.
mod optional_instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the instant (milliseconds since 1970), or null.
    pub fn serialize<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match ms {
            Some(ms) => serializer.serialize_str(&super::rfc3339(*ms)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the instant (milliseconds since 1970), or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(|at| at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Summary, SummaryRow};

    fn row(as_of_ms: i64, next_expires_at_ms: Option<i64>) -> SummaryRow {
        let summary = Summary::empty(uuid::Uuid::nil(), jiff::civil::date(2026, 1, 2), false);
        SummaryRow { summary, as_of_ms, next_expires_at_ms, bounds: None }
    }

    #[test]
    fn a_row_that_is_proven_further_does_not_come_to_stand_still() {
        let counted = row(10, Some(20));
        for as_of_ms in [5, 19, 20, 30] {
            let known = counted.clone().known_as_of(as_of_ms);
            assert_eq!((known.as_of_ms, known.is_still()), (as_of_ms.min(19), false));
        }
        assert_eq!(row(10, None).known_as_of(30).as_of_ms, 30);
    }

    #[test]
    fn a_row_that_stands_still_goes_on_to() {
        for as_of_ms in [5, 10, 30] {
            let known = row(10, None).kept_still(10).known_as_of(as_of_ms);
            assert_eq!((known.as_of_ms, known.is_still()), (as_of_ms, true));
        }
    }
}
