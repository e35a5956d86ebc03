//! The plan of a load, printed before it begins: the exact number of rows, and size and time
//! measured by loading a sample.

use std::{fmt, path::PathBuf, time::Duration};

use indicatif::{HumanBytes, HumanCount};

use super::{
    GenerateError,
    data_set::{Counts, DataSet, FacilitySeed},
    disk,
    sink::{Sample, Sink},
};

/// Rows of a sample: enough for measurements within a few per cent, and few enough to load within a
/// second.
const SAMPLE_ROWS: u64 = 20_000;

/// What is requested, what of it is already there, and what the rest will cost.
#[derive(Debug)]
pub struct Plan {
    /// The rows that are requested.
    pub asked: Counts,
    /// The rows of these that are not in the database yet.
    pub missing: Counts,
    /// What was measured with the sample.
    pub sample: Sample,
    /// Bytes that the missing rows will take.
    pub bytes: u64,
    /// Bytes that the load needs temporarily in addition.
    pub passing_bytes: u64,
    /// The folder of the database's data, if it is known.
    pub folder: Option<PathBuf>,
    /// Facilities in one transaction.
    chunk: u32,
}

impl Plan {
    /// Measures what the rest will cost, in chunks of `chunk` facilities.
    pub async fn measured(
        set: &DataSet,
        asked: Counts,
        chunk: u32,
        sink: &mut dyn Sink,
    ) -> Result<Self, GenerateError> {
        let facilities = asked.facilities as u32;
        // Chunks are loaded in the order of their numbers, so earlier runs have loaded the first
        // ones.
        let there = sink.count("facilities", set.ids(0..facilities)).await?;
        let missing = asked - set.counts(0..there as u32);
        let sample = sink.sample(&sample_of(set, facilities)).await?;
        let bytes = (missing.rows() as f64 * sample.bytes_per_row()) as u64;
        let chunk_bytes = bytes / missing.facilities.max(1) * u64::from(chunk);
        let passing_bytes = sink.passing_bytes(bytes, chunk_bytes).await?;
        Ok(Plan {
            asked,
            missing,
            sample,
            bytes,
            passing_bytes,
            folder: sink.folder().await,
            chunk,
        })
    }

    /// The time that the load will take.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.missing.rows() as f64 / self.sample.rows_per_second())
    }

    /// Fails when the disk has not enough space for the rows and a tenth more.
    pub fn check_disk(&self) -> Result<(), GenerateError> {
        let needed = self.bytes + self.bytes / 10 + self.passing_bytes;
        self.folder.as_deref().map_or(Ok(()), |folder| disk::check(folder, needed))
    }
}

/// The first facilities, up to about `SAMPLE_ROWS` rows. Their templates are random, so they are a
/// fair sample.
fn sample_of(set: &DataSet, facilities: u32) -> Vec<FacilitySeed> {
    let mut rows = 0;
    set.facilities(0..facilities)
        .take_while(|facility| {
            let begun = rows < SAMPLE_ROWS;
            rows += facility.counts().rows();
            begun
        })
        .collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { facilities, blood_banks, inventory, distributions, requests, facility_days } =
            self.asked;
        let count = HumanCount;
        writeln!(
            f,
            "Asked for   {} facilities, {} facility-days, {} rows:",
            count(facilities),
            count(facility_days),
            count(self.asked.rows())
        )?;
        writeln!(
            f,
            "            {} blood banks, {} inventory, {} distributions, {} requests",
            count(blood_banks),
            count(inventory),
            count(distributions),
            count(requests)
        )?;
        if self.missing.facilities < facilities {
            writeln!(
                f,
                "There       {} facilities; {} rows to go",
                count(facilities - self.missing.facilities),
                count(self.missing.rows())
            )?;
        }
        writeln!(
            f,
            "Sample      {} rows/s, {:.0} bytes a row (of {} rows loaded just now)",
            count(self.sample.rows_per_second() as u64),
            self.sample.bytes_per_row(),
            count(self.sample.rows)
        )?;
        let room = match self.folder.as_deref().and_then(disk::free_bytes) {
            Some(free) => format!("{} free", HumanBytes(free)),
            None => "the server's disk is not known here and not checked".into(),
        };
        writeln!(
            f,
            "Size        about {}, and {} while loading; {room}",
            HumanBytes(self.bytes),
            HumanBytes(self.passing_bytes)
        )?;
        write!(
            f,
            "Time        about {}, {} facilities at a time",
            shown(self.time()),
            count(self.chunk.into())
        )
    }
}

/// A time with its unit, with two or three significant digits.
pub fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}
