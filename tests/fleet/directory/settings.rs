//! What the seed of a round decides: which writes are frequent, the time of the clock, and the
//! settings of each replica.

use jiff::Timestamp;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::figures::{date_in, start_of};
use crate::support::service::Launch;

/// Zones on both sides of the date line, some of them half or quarter hours off.
pub const ZONES: [&str; 22] = [
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Asia/Tokyo",
    "Australia/Eucla",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Kabul",
    "Asia/Tehran",
    "Africa/Cairo",
    "Europe/Warsaw",
    "UTC",
    "Atlantic/Azores",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/New_York",
    "Pacific/Marquesas",
    "Pacific/Honolulu",
    "Pacific/Niue",
    "Etc/GMT+12",
];

/// Which writes are frequent, so that a round can test one kind of change alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All kinds.
    All,
    /// Figures only: no facility comes, goes or moves.
    Figures,
    /// Facilities that change their zones.
    Zones,
    /// Facilities that are removed and registered again.
    Removals,
    /// Banks that move.
    Banks,
    /// As `All`; readers read lists only.
    Lists,
}

pub const KINDS: [Kind; 6] =
    [Kind::All, Kind::Figures, Kind::Zones, Kind::Removals, Kind::Banks, Kind::Lists];

impl Kind {
    /// The kind with this name, in any case.
    pub fn named(name: &str) -> Kind {
        let found = KINDS.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("there is no kind {name}; the kinds are {KINDS:?}"))
    }
}

/// The parameters of a round, with which it can be repeated.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub facilities: usize,
    pub seconds: u64,
    pub faults: bool,
}

impl Plan {
    pub fn rng(&self, what: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(what))
    }

    /// The zone that has its midnight in the middle of the round.
    pub fn midnight_zone(&self) -> &'static str {
        ZONES[self.rng(1).random_range(0..ZONES.len())]
    }

    /// How far the database's clock must be ahead of this machine's, so that it is midnight there
    /// so many milliseconds from now.
    pub fn ahead_ms(&self, from_now_ms: i64) -> i64 {
        let (zone, then_ms) =
            (self.midnight_zone(), Timestamp::now().as_millisecond() + from_now_ms);
        let tomorrow = date_in(zone, then_ms).tomorrow().expect("the calendar goes on");
        start_of(zone, tomorrow) - then_ms
    }
}

/// Random settings of a replica. Audits and rebuilds are mostly off: they must not repair what
/// should never be wrong.
pub fn random(rng: &mut StdRng, launch: Launch) -> (Launch, String) {
    let mut told = Vec::new();
    let mut launch = launch;
    let mut set = |name: &str, value: String| {
        launch = launch
            .clone()
            .env(&format!("FACILITY_SUMMARY__{}", name.to_uppercase().replace('.', "__")), &value);
        told.push(format!("{name}={value}"));
    };
    let mut one_of = |values: &[&str]| values[rng.random_range(0..values.len())].to_owned();
    set("rebuild.cron", one_of(&["off", "off", "off", "*/5 * * * * *"]));
    set("rebuild.days", one_of(&["1", "3"]));
    set("audit.interval_ms", one_of(&["0", "0", "0", "1000"]));
    for (name, values) in [
        ("cache.memory_bytes", &["268435456", "268435456", "0", "20000"][..]),
        ("cache.recent_changes", &["65536", "8"]),
        ("redis.stream_length", &["65536", "64"]),
        ("redis.replay", &["10000", "10", "1"]),
        ("refresh.chunk", &["100", "1"]),
        ("refresh.drain_interval_ms", &["500", "200", "1000"]),
        ("freshness.mode", &["balanced", "aggressive"]),
    ] {
        set(name, one_of(values));
    }
    (launch, told.join(" "))
}

/// A random seed.
pub fn any_seed() -> u64 {
    rand::rng().next_u64() % 1_000_000
}
