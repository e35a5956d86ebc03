//! A facility and its time zone.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{day::Day, zones};

/// An IANA time zone, which all its facilities share. It keeps its current day, so that `today`
/// costs one comparison.
#[derive(Debug)]
pub struct Zone {
    /// The name as it was registered.
    pub name: String,
    /// The rules of the zone.
    pub tz: TimeZone,
    /// No zone has that name: the days are those of UTC.
    pub is_unknown: bool,
    /// What a reader must know about such a zone.
    error: Option<String>,
    today: ArcSwap<Day>,
}

impl Zone {
    /// The canonical spelling of an IANA name, given in upper or lower case; `None` when there is
    /// no such zone.
    pub fn canonical_name(name: &str) -> Option<String> {
        zones::find(name)?.iana_name().map(str::to_owned)
    }

    /// The zone with that IANA name, or `None` when there is none. It keeps the name as given,
    /// because rows are compared by it.
    pub fn named(name: &str) -> Option<Self> {
        Some(Zone::new(name, zones::find(name)?))
    }

    /// A zone with UTC's days under another name, for a name that is no zone.
    pub fn utc_named(name: &str) -> Self {
        let shown = zones::shortened(name, zones::MAX_BYTES);
        let error = format!(
            "{shown:?} is no time zone, and its days are counted in UTC; expected {}",
            zones::expected(name)
        );
        Zone { is_unknown: true, error: Some(error), ..Zone::new(name, TimeZone::UTC) }
    }

    /// The name for people. A name that is too long for a zone is cut.
    pub fn shown(&self) -> Cow<'_, str> {
        zones::shortened(&self.name, zones::MAX_BYTES)
    }

    /// What a reader must know about a zone that does not exist; `None` for a zone that does.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn new(name: &str, tz: TimeZone) -> Self {
        let today = ArcSwap::from_pointee(Day::containing(&tz, 0));
        Zone { name: name.to_owned(), tz, is_unknown: false, error: None, today }
    }

    /// The local day that contains `now_ms` (milliseconds since 1970).
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
    /// Its id, which its owner chose.
    pub id: Uuid,
    /// Its name, for people.
    pub name: String,
    /// Its time zone.
    pub zone: Arc<Zone>,
    /// The owner's key, where `[sources]` maps facilities.
    pub key: Option<String>,
}
