//! A facility and its zone.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::day::Day;

/// An IANA time zone, shared by all facilities in it, that remembers its current day: asking for today costs a comparison.
#[derive(Debug)]
pub struct Zone {
    pub name: String,
    pub tz: TimeZone,
    today: ArcSwap<Day>,
}

impl Zone {
    /// The canonical spelling of an IANA name, whatever the case in which it comes; `None` where there is no such zone. Names that a
    /// machine's zone folder also holds are none: they mean another zone elsewhere (`localtime`, `posixrules`), no zone at all
    /// (`Factory`), or count leap seconds (`right/…`).
    pub fn canonical_name(name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        if matches!(lower.as_str(), "localtime" | "posixrules" | "factory") || lower.starts_with("posix/") || lower.starts_with("right/") {
            return None;
        }
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
        zone.iana_name().map(str::to_owned)
    }

    /// The zone of that IANA name, or `None` where there is none. It keeps the name as given: rows are compared by it.
    pub fn named(name: &str) -> Option<Self> {
        Self::canonical_name(name)?;
        Some(Zone::new(name, TimeZone::get(name).ok()?))
    }

    /// UTC's days under another name, for a zone that does not exist.
    pub fn utc_named(name: &str) -> Self {
        Zone::new(name, TimeZone::UTC)
    }

    fn new(name: &str, tz: TimeZone) -> Self {
        let today = ArcSwap::from_pointee(Day::containing(&tz, 0));
        Zone { name: name.to_owned(), tz, today }
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
