//! A facility and its zone.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{day::Day, zones};

/// An IANA time zone, shared by all facilities in it, that remembers its current day: asking for
/// today costs a comparison.
#[derive(Debug)]
pub struct Zone {
    pub name: String,
    pub tz: TimeZone,
    /// There is none of that name: its days are UTC's.
    pub is_unknown: bool,
    /// What a reader has to know of it then.
    error: Option<String>,
    today: ArcSwap<Day>,
}

impl Zone {
    /// The canonical spelling of an IANA name, whatever the case in which it comes; `None` where
    /// there is no such zone.
    pub fn canonical_name(name: &str) -> Option<String> {
        zones::find(name)?.iana_name().map(str::to_owned)
    }

    /// The zone of that IANA name, or `None` where there is none. It keeps the name as given: rows
    /// are compared by it.
    pub fn named(name: &str) -> Option<Self> {
        Some(Zone::new(name, zones::find(name)?))
    }

    /// UTC's days under another name, for a zone that does not exist.
    pub fn utc_named(name: &str) -> Self {
        let shown = zones::shortened(name, zones::MAX_BYTES);
        let error = format!(
            "{shown:?} is no time zone, and its days are counted in UTC; expected {}",
            zones::expected(name)
        );
        Zone { is_unknown: true, error: Some(error), ..Zone::new(name, TimeZone::UTC) }
    }

    /// The name for people; of one that no zone can have, its beginning.
    pub fn shown(&self) -> Cow<'_, str> {
        zones::shortened(&self.name, zones::MAX_BYTES)
    }

    /// What a reader has to know of a zone that does not exist; `None` where all is well.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn new(name: &str, tz: TimeZone) -> Self {
        let today = ArcSwap::from_pointee(Day::containing(&tz, 0));
        Zone { name: name.to_owned(), tz, is_unknown: false, error: None, today }
    }

    /// The local day that contains `now_ms`.
    pub fn today(&self, now_ms: i64) -> Day {
        let remembered = **self.today.load();
        if remembered.contains(now_ms) {
            return remembered;
        }
        let day = Day::containing(&self.tz, now_ms);
        self.today.store(Arc::new(day));
        day
    }
}

/// A registered facility.
#[derive(Debug, Clone)]
pub struct Facility {
    pub id: Uuid,
    pub name: String,
    pub zone: Arc<Zone>,
}
