//! Marks: what the triggers on the source tables leave for the drain.

use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// The facility's stock changed.
    Stock,
    /// Deliveries or requests changed between two instants, or at any time where there are none.
    Activity,
    /// The facility was registered, renamed, moved to another zone, or removed.
    Facility,
}

impl MarkKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            MarkKind::Stock => "stock",
            MarkKind::Activity => "activity",
            MarkKind::Facility => "facility",
        }
    }

    /// An unknown kind, from a newer release, is read as the widest.
    pub fn parse(text: &str) -> Self {
        match text {
            "stock" => MarkKind::Stock,
            "activity" => MarkKind::Activity,
            _ => MarkKind::Facility,
        }
    }
}

/// A trace that a trigger left in its writer's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub id: i64,
    pub kind: MarkKind,
    /// `None`: every facility.
    pub facility_id: Option<Uuid>,
    /// First and last instant touched; `None`: all time.
    pub span: Option<(i64, i64)>,
    /// Whose units changed. The bank may be in another facility by now than it was for the
    /// trigger.
    pub blood_bank_id: Option<Uuid>,
}

/// Marks without the rest of a look.
#[derive(Debug, Default)]
pub struct Marks {
    pub all: Vec<Mark>,
    /// As in `DrainSnapshot`.
    pub strays: Vec<(i64, Option<Uuid>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub facility_id: Uuid,
    pub first_ms: i64,
    pub last_ms: i64,
}
