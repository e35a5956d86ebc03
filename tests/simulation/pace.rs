//! How often things happen in a schedule. Some schedules are quiet and some are wild, each in a way
//! of its own.

use rand::RngExt;
use rand_pcg::Pcg64;

use crate::places::{BEGIN_MS, FACILITIES, KATHMANDU, MIDNIGHT_MS, UTC, ZONES};

/// The faults of the database in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disaster {
    Nothing,
    /// Failovers that lose the last commits, and restored backups, sometimes with the same
    /// identity.
    Loses,
    ClockSetBack,
}

/// The theme of a schedule: faults that seldom happen together by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Replicas drop entries, keep few recent changes, and read from tiers that lag.
    Forgets,
    /// Two Redis servers act as the primary, and each is used by a server that drains.
    Splits,
    /// The database is restored again and again while passes hang.
    GoesBack,
    /// Facilities are registered, removed, registered again, and moved from one zone to the other;
    /// banks move.
    Moves,
    /// The same as `Moves`, while replicas are killed and start again.
    MovesAndStarts,
    /// The same as `Moves`, while the database is restored.
    MovesAndGoesBack,
}

impl Theme {
    const ALL: [Theme; 6] = [
        Theme::Forgets,
        Theme::Splits,
        Theme::GoesBack,
        Theme::Moves,
        Theme::MovesAndStarts,
        Theme::MovesAndGoesBack,
    ];

    fn apply(self, pace: &mut Pace) {
        (pace.come_and_go, pace.list, pace.units, pace.one_date, pace.zones) =
            (0, 0, 10, 95, [UTC, UTC]);
        match self {
            Theme::Forgets => {
                (pace.recent, pace.lag, pace.sources) = (2, 60, [1, 6, 6]);
                (pace.write, pace.refresh, pace.read, pace.fault) = (8, 8, 20, 10);
                pace.faults = [1, 0, 1, 0, 20, 0];
            }
            Theme::Splits => {
                (pace.fault, pace.faults) = (4, [1, 1, 2, 8, 2, 0]);
                (pace.hangs, pace.leads) = (40, 40);
            }
            Theme::GoesBack => {
                (pace.disaster, pace.fault, pace.faults) = (Disaster::Loses, 4, [1, 0, 1, 0, 4, 8]);
                (pace.recent, pace.hangs, pace.leads) = (2, 60, 40);
            }
            Theme::Moves => {
                (pace.zones, pace.units, pace.one_date) = ([UTC, KATHMANDU], 40, 50);
                (pace.come_and_go, pace.write, pace.refresh, pace.list) = (6, 4, 6, 3);
                (pace.fault, pace.disaster, pace.read, pace.work) = (1, Disaster::Nothing, 10, 60);
            }
            Theme::MovesAndStarts => {
                Theme::Moves.apply(pace);
                (pace.fault, pace.faults) = (5, [6, 2, 1, 0, 1, 0]);
            }
            Theme::MovesAndGoesBack => {
                Theme::Moves.apply(pace);
                (pace.disaster, pace.fault, pace.faults) = (Disaster::Loses, 4, [1, 0, 1, 0, 1, 8]);
            }
        }
    }
}

/// How often each thing happens in a schedule.
#[derive(Debug, Clone)]
pub struct Pace {
    /// There is only one server, which keeps the stream within its process.
    pub is_alone: bool,
    /// How many recent changes a replica keeps.
    pub recent: usize,
    /// How many messages from before its start a replica reads.
    pub replay: usize,
    /// The most rows in a drain snapshot.
    pub batch: usize,
    /// The most commits by which a standby lags.
    pub lag: usize,
    /// The weights of what may happen next: another program writes.
    pub write: u32,
    /// A replica reads a key.
    pub read: u32,
    /// A replica lists a date.
    pub list: u32,
    /// A refresh, or an event.
    pub refresh: u32,
    /// A facility or a bank is registered, moved or removed.
    pub come_and_go: u32,
    /// How often a write is about the units of a bank, in percent.
    pub units: u32,
    /// How often a step is about the one date of most steps, in percent.
    pub one_date: u32,
    /// A replica drains.
    pub drain: u32,
    /// A replica follows the stream.
    pub follow: u32,
    /// Any task takes a step.
    pub work: u32,
    /// A fault.
    pub fault: u32,
    /// How often a change brings units that will expire, in percent.
    pub expiries: u32,
    /// How often a change leaves the figures as they are, in percent.
    pub same: u32,
    /// The weights of the faults: a replica is killed, its connection is lost, Redis, a split of
    /// Redis, memory evicts a facility, the database.
    pub faults: [u32; 6],
    /// The weights of where a read goes: the primary, a standby, Redis.
    pub sources: [u32; 3],
    /// How often a pass hangs between its drain snapshot and its next step, in percent.
    pub hangs: u32,
    /// The replica that keeps trying to drain.
    pub leader: usize,
    /// How often the leader drains instead of another replica, in percent.
    pub leads: u32,
    /// The faults of the database.
    pub disaster: Disaster,
    /// When the schedule begins, in milliseconds since 1970.
    pub begins_ms: i64,
    /// The zones of the facilities at the begin.
    pub zones: [usize; FACILITIES],
    /// How often a command to Redis is carried out late or without an answer, in percent.
    pub unanswered: u32,
}

impl Pace {
    /// Nothing happens by itself.
    pub fn calm() -> Self {
        Pace {
            is_alone: false,
            recent: 2,
            replay: 50,
            batch: 100,
            lag: 1,
            write: 0,
            read: 0,
            list: 0,
            refresh: 0,
            come_and_go: 0,
            units: 0,
            one_date: 0,
            drain: 0,
            follow: 0,
            work: 0,
            fault: 0,
            expiries: 0,
            same: 0,
            faults: [0; 6],
            sources: [0; 3],
            hangs: 0,
            leader: 0,
            leads: 0,
            disaster: Disaster::Nothing,
            begins_ms: BEGIN_MS + 1_000,
            zones: [UTC; FACILITIES],
            unanswered: 0,
        }
    }

    /// Begins before a midnight, in some schedules or in all. (After the clock is set back over a
    /// midnight, the day before is today once more: `clock_set_back.rs` has that.)
    pub fn begin(&mut self, rng: &mut Pcg64, all: bool) {
        if (all || rng.random_range(0..4) == 0) && self.disaster != Disaster::ClockSetBack {
            self.begins_ms = MIDNIGHT_MS - rng.random_range(3_000..16_000);
        }
    }

    /// A random pace with this theme, or with any.
    pub fn random(rng: &mut Pcg64, theme: Option<Theme>) -> Self {
        let mut pace = Pace::any(rng);
        if theme.is_none() && rng.random_range(0..8) == 0 {
            return Pace { is_alone: true, leader: 0, leads: 100, ..pace };
        }
        // Half of them have no theme.
        let theme =
            theme.or_else(|| Theme::ALL.get(rng.random_range(0..2 * Theme::ALL.len())).copied());
        if let Some(theme) = theme {
            theme.apply(&mut pace);
        }
        pace
    }

    fn any(rng: &mut Pcg64) -> Self {
        let one_of =
            |rng: &mut Pcg64, choices: &[usize]| choices[rng.random_range(0..choices.len())];
        let mut weight = |choices: &[usize]| one_of(rng, choices) as u32;
        let (write, read, refresh) = (weight(&[1, 3, 8]), weight(&[4, 10]), weight(&[2, 6]));
        let (drain, follow, work, fault) =
            (weight(&[30, 60, 100]), weight(&[30, 80]), weight(&[20, 40]), weight(&[0, 1, 3, 8]));
        let (list, come_and_go) = (weight(&[0, 1, 2]), weight(&[0, 0, 1, 3]));
        let (unanswered, hangs) = (weight(&[0, 3, 15]), weight(&[0, 0, 10, 40]));
        let faults = std::array::from_fn(|_| weight(&[1, 1, 8]));
        let sources = std::array::from_fn(|_| weight(&[1, 1, 6]));
        Pace {
            is_alone: false,
            recent: one_of(rng, &[2, 4, 32]),
            // Enough messages to reach back to a watermark (docs/freshness.md, "What is assumed").
            replay: one_of(rng, &[50, 200]),
            batch: one_of(rng, &[2, 4, 100]),
            lag: one_of(rng, &[1, 4, 30]),
            write,
            read,
            list,
            refresh,
            come_and_go,
            units: 30,
            one_date: 60,
            drain,
            follow,
            work,
            fault,
            expiries: 20,
            same: 10,
            faults,
            sources,
            hangs,
            leader: rng.random_range(0..3),
            leads: 70,
            disaster: [
                Disaster::Nothing,
                Disaster::Nothing,
                Disaster::Loses,
                Disaster::Loses,
                Disaster::ClockSetBack,
            ][rng.random_range(0..5)],
            begins_ms: BEGIN_MS + 1_000,
            zones: std::array::from_fn(|_| rng.random_range(0..ZONES.len())),
            unanswered,
        }
    }
}
