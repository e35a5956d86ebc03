//! The table that `estimate` prints.

use std::fmt;

use indicatif::{HumanBytes, HumanCount};

use super::{
    line::EstimateLine,
    sample::{Measured, SAMPLE},
};
use crate::tools::generate::shown;

/// What `estimate` prints.
#[derive(Debug)]
pub struct Table {
    /// What the lines were computed from.
    pub measured: Measured,
    /// One line for each size, smallest first.
    pub lines: Vec<EstimateLine>,
    /// The settings name Postgres, which was not measured.
    pub for_postgres: bool,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.measured;
        writeln!(
            f,
            "Measured just now on {} facilities, {} rows in SQLite: {:.0} rows/s, {:.0} bytes a \
             row, {:.0} bytes of JSON a summary.\n",
            SAMPLE[1],
            HumanCount(m.rows),
            1.0 / m.load_seconds.per_row,
            m.database_bytes.per_row,
            m.body_bytes
        )?;
        let heads = [
            "facilities",
            "rows",
            "database",
            "JSON",
            "memory",
            "load",
            "rebuild",
            "tick",
            "approach",
        ];
        let [facilities, rows, database, json, memory, load, rebuild, tick, approach] = heads;
        writeln!(
            f,
            "{facilities:>10} {rows:>15} {database:>11} {json:>11} {memory:>11} {load:>9} \
             {rebuild:>9} {tick:>9}  {approach:<10} risk"
        )?;
        for line in &self.lines {
            let bytes = |bytes| HumanBytes(bytes).to_string();
            writeln!(
                f,
                "{:>10} {:>15} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9}  {:<10} {}",
                HumanCount(line.facilities.into()).to_string(),
                HumanCount(line.rows).to_string(),
                bytes(line.database_bytes),
                bytes(line.json_bytes),
                bytes(line.memory_bytes),
                shown(line.load),
                shown(line.rebuild),
                shown(line.tick),
                line.approach,
                line.risk
            )?;
        }
        write!(
            f,
            "
database, load, rebuild and tick are SQLite's, on this machine. JSON: the summaries of all days. \
             memory: a process
with today's summaries. rebuild: all days for the first time. tick: a scheduled rebuild that finds \
             nothing to write."
        )?;
        if self.for_postgres {
            write!(
                f,
                "
The settings name Postgres, which serves every size above; nothing was measured there. What it \
                 takes to load,
generate says before it begins."
            )?;
        }
        Ok(())
    }
}
