//! What one number of facilities costs, and the advice that follows from it.

use std::{path::Path, time::Duration};

use indicatif::HumanBytes;

use super::sample::{Growth, Measured};
use crate::tools::generate::{DataSet, free_bytes, shown};

/// Rows that are loaded and summarised within this time need one batch; more rows are cut into
/// chunks.
const ONE_BATCH: Duration = Duration::from_secs(1);
/// The longest scheduled rebuild: a twentieth of the five minutes between two of them. A longer one
/// takes too much time from readers and writers.
const LONGEST_TICK: Duration = Duration::from_secs(15);
/// A load that takes longer should be one that can be stopped and continued.
const LONG_LOAD: Duration = Duration::from_secs(60);

/// Free bytes on this machine; `None` when it does not tell.
pub struct Room {
    memory: Option<u64>,
    disk: Option<u64>,
}

impl Room {
    /// The free memory, and the free space on the disk of that folder.
    pub fn of(folder: &Path) -> Self {
        Room { memory: available_memory(), disk: free_bytes(folder) }
    }
}

fn available_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What one number of facilities costs.
#[derive(Debug)]
pub struct EstimateLine {
    /// The number of facilities.
    pub facilities: u32,
    /// Rows of the five source tables.
    pub rows: u64,
    /// Size of the database.
    pub database_bytes: u64,
    /// Size of the summaries of all facilities and days.
    pub json_bytes: u64,
    /// Size of a process that holds today's summary of every facility.
    pub memory_bytes: u64,
    /// Time to load the rows.
    pub load: Duration,
    /// Time to make the summaries of all facilities and days for the first time.
    pub rebuild: Duration,
    /// Time of a scheduled rebuild that finds nothing to write.
    pub tick: Duration,
    /// The way of loading, or the database, that suits this size.
    pub approach: &'static str,
    /// What may go wrong with SQLite at this size, in words.
    pub risk: String,
}

impl EstimateLine {
    /// Computes the costs of that many facilities from what was measured.
    pub fn at(set: &DataSet, facilities: u32, measured: &Measured, room: &Room) -> Self {
        let counts = set.counts(0..facilities);
        let rows = counts.rows();
        let seconds = |growth: &Growth| Duration::from_secs_f64(growth.at(rows));
        let mut line = EstimateLine {
            facilities,
            rows,
            database_bytes: measured.database_bytes.at(rows) as u64,
            json_bytes: (counts.facility_days as f64 * measured.body_bytes) as u64,
            memory_bytes: measured.process_bytes
                + (f64::from(facilities) * measured.held_bytes) as u64,
            load: seconds(&measured.load_seconds),
            rebuild: seconds(&measured.rebuild_seconds),
            tick: seconds(&measured.tick_seconds),
            approach: "",
            risk: String::new(),
        };
        (line.approach, line.risk) = line.advice(room);
        line
    }

    /// The approach, and the risk of SQLite.
    fn advice(&self, room: &Room) -> (&'static str, String) {
        let exceeds = |bytes: u64, room: Option<u64>| room.filter(|room| bytes > *room);
        if let Some(free) = exceeds(self.database_bytes, room.disk) {
            ("Postgres", format!("high: only {} are free on this disk", HumanBytes(free)))
        } else if self.tick > LONGEST_TICK {
            (
                "Postgres",
                format!("high on SQLite: every scheduled rebuild reads for {}", shown(self.tick)),
            )
        } else if let Some(free) = exceeds(self.database_bytes, room.memory) {
            (
                "Postgres",
                format!(
                    "medium: more than the {} of free memory, reads go to the disk",
                    HumanBytes(free)
                ),
            )
        } else if self.load > LONG_LOAD {
            (
                "stream",
                format!("medium: {} of load, which may be stopped and goes on", shown(self.load)),
            )
        } else if self.load + self.rebuild > ONE_BATCH {
            ("chunks", "low: a write may wait for a chunk of a load or a rebuild".into())
        } else {
            ("one batch", "none".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_what_was_measured() {
        let line = |database_bytes, load_ms, tick_ms| EstimateLine {
            facilities: 1,
            rows: 1,
            database_bytes,
            json_bytes: 1,
            memory_bytes: 1,
            load: Duration::from_millis(load_ms),
            rebuild: Duration::from_millis(100),
            tick: Duration::from_millis(tick_ms),
            approach: "",
            risk: String::new(),
        };
        let room = Room { memory: Some(1_000), disk: Some(5_000) };
        assert_eq!(line(1, 100, 1).advice(&room).0, "one batch");
        assert_eq!(line(1, 1_000, 1).advice(&room).0, "chunks");
        assert_eq!(line(1, 100_000, 100).advice(&room).0, "stream");
        for postgres in [line(1, 1, 20_000), line(2_000, 1, 1), line(6_000, 1, 1)] {
            assert_eq!(postgres.advice(&room).0, "Postgres");
        }
    }
}
