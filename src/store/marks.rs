//! Marks: what the triggers on the source tables leave for the drain.

use uuid::Uuid;

/// What a mark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// The facility's stock changed.
    Stock,
    /// Deliveries or requests changed between two instants, or at any time when the mark has none.
    Activity,
    /// The facility was registered, renamed, moved to another zone, or removed.
    Facility,
}

impl MarkKind {
    /// The kind as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            MarkKind::Stock => "stock",
            MarkKind::Activity => "activity",
            MarkKind::Facility => "facility",
        }
    }

    /// Reads a stored kind. An unknown one, from a newer release, counts as the widest.
    pub fn parse(text: &str) -> Self {
        match text {
            "stock" => MarkKind::Stock,
            "activity" => MarkKind::Activity,
            _ => MarkKind::Facility,
        }
    }
}

/// A mark: a row that a trigger wrote in the transaction of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The number of the mark.
    pub id: i64,
    /// What changed.
    pub kind: MarkKind,
    /// `None`: every facility.
    pub facility_id: Option<Uuid>,
    /// The first and last instant that changed, in milliseconds since 1970; `None`: any time.
    pub span: Option<(i64, i64)>,
    /// The blood bank with the changed units. It may be in another facility now than when the
    /// trigger ran.
    pub blood_bank_id: Option<Uuid>,
}

/// The marks of a drain snapshot, without the rest.
#[derive(Debug, Default)]
pub struct Marks {
    /// The marks, the oldest first.
    pub all: Vec<Mark>,
    /// As in `DrainSnapshot`.
    pub strays: Vec<(i64, Option<Uuid>)>,
}

/// The times of deliveries and requests of one facility on one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The facility.
    pub facility_id: Uuid,
    /// The first instant, in milliseconds since 1970.
    pub first_ms: i64,
    /// The last instant, in milliseconds since 1970.
    pub last_ms: i64,
}
