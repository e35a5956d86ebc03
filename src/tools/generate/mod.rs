//! `generate`: realistic data in any amount, with constant memory. `plan.rs` computes size and
//! time, and refuses what does not fit. `load.rs` writes and checks. The rows are pure functions of
//! the options (`data_set.rs`, `rows.rs`).

mod calendar;
mod copy_format;
mod data_set;
mod demo_data;
mod disk;
mod load;
mod plan;
mod postgres;
mod progress;
mod region;
mod rows;
mod sink;
mod sqlite;
mod summarise;
mod template;

use std::{path::PathBuf, time::Instant};

use indicatif::{HumanBytes, HumanCount};
use jiff::{Timestamp, ToSpan, civil::Date};

pub use data_set::{Counts, DataSet, FacilitySeed, Options};
pub use demo_data::{Demo, demo_facilities};
pub(in crate::tools) use disk::{Scratch, free_bytes};
pub(in crate::tools) use plan::shown;
pub(in crate::tools) use progress::{Progress, Stopped, memory};
pub(in crate::tools) use sink::Sink;
pub(in crate::tools) use sqlite::SqliteSink;
pub use template::{Template, TemplateChoice};

use crate::{config::Settings, startup::StartError, store::StoreError};

/// Fills the database with realistic facilities, stock, deliveries and requests.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  facility-summary generate --facilities 1000 --days 30 --template mixed --variance 0.3 --seed 42

The same options make the same rows, ids included. A run that was stopped goes on when it is
started again with the same options; more --facilities add to those that are there.")]
pub struct GenerateArgs {
    /// Facilities, 1 to 1,000,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub facilities: u32,
    /// Local days of deliveries and requests for each facility, 1 to 3,660
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    pub days: u32,
    /// The kind of facility
    #[arg(long, value_enum, default_value_t = TemplateChoice::Mixed)]
    pub template: TemplateChoice,
    /// How far facilities and days differ from their template, 0 to 1
    #[arg(long, default_value_t = 0.3, value_parser = variance)]
    pub variance: f64,
    /// Where all that looks random comes from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Facilities in one transaction [default: as many as make about 100,000 rows]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub chunk: Option<u32>,
    /// The last day, YYYY-MM-DD [default: the last that is over in every time zone, or that of the
    /// run that is continued]
    #[arg(long, value_parser = last_day)]
    pub end_date: Option<Date>,
    /// Make the rows in memory only and say how fast that is
    #[arg(long)]
    pub dry_run: bool,
    /// Leave the summaries to a running service, or to a rebuild later
    #[arg(long, conflicts_with = "dry_run")]
    pub no_rebuild: bool,
}

/// Why a load or an estimate failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service's parts could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The rows are loaded, but some summaries were not made; it says why.
    #[error(
        "the rows are in; their summaries are not all made: {0}. A running service makes them; \
         else run: facility-summary rebuild --all"
    )]
    Summaries(String),
    /// The disk has too little room for the rows. Nothing was loaded.
    #[error(
        "{needed} are needed in {}, where {free} are free: make room, or ask for fewer facilities \
         or days",
        .folder.display()
    )]
    DiskTooSmall { folder: PathBuf, needed: HumanBytes, free: HumanBytes },
    /// The folder of the database cannot be written.
    #[error("the folder {} cannot be written: {source}", .folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    /// The database holds the same data set with another last day.
    #[error(
        "the database holds this data set up to {there}, not {asked}: leave --end-date out, or \
         take another --seed"
    )]
    OtherDays { there: Date, asked: Date },
    /// The run was stopped; the facilities loaded until then are complete.
    #[error(
        "stopped: every facility that is in the database is whole; start again with the same \
         options to go on"
    )]
    Stopped,
    /// A count of rows in the database is not the planned one.
    #[error(
        "{what}: the database has {found} of this data set where {planned} were asked for. Were \
         its rows changed since they were loaded?"
    )]
    Mismatch { what: &'static str, found: HumanCount, planned: HumanCount },
}

impl From<sqlx::Error> for GenerateError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<Stopped> for GenerateError {
    fn from(_: Stopped) -> Self {
        GenerateError::Stopped
    }
}

/// What a run did before it ended or was stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenerateResult {
    /// Rows that this run has made and committed.
    pub made: Counts,
    /// Facilities that earlier runs have loaded.
    pub skipped_facilities: u64,
    /// The hash of the rows in the form of COPY and in order; only in dry runs.
    pub digest: Option<u64>,
}

/// Runs the command. `Ok` is exit code 0, an error 1.
pub async fn run(args: GenerateArgs, settings: &Settings) -> Result<(), GenerateError> {
    let started = Instant::now();
    let (set, progress) = (args.data_set(), Progress::shown());
    let mut outcome = GenerateResult::default();
    let listening = progress.stop_on_ctrl_c();
    let result = if args.dry_run {
        load::dry_run(&set, args.facilities, &progress, &mut outcome).await
    } else {
        load::run(&args, set, settings, &progress, &mut outcome).await
    };
    progress.finish();
    drop(listening);
    log(&args, started, &outcome, &result);
    result?;
    println!("{}", told(&outcome, started));
    match (args.dry_run, args.no_rebuild) {
        (true, _) => Ok(()),
        (false, false) => summarise::run(settings).await,
        (false, true) => {
            println!(
                "A running service summarises the new rows by itself; without one, run: \
                 facility-summary rebuild --all"
            );
            Ok(())
        }
    }
}

impl GenerateArgs {
    fn data_set(&self) -> DataSet {
        DataSet::new(Options {
            seed: self.seed,
            days: self.days,
            template: self.template.only(),
            variance: self.variance,
            last_day: self.end_date.unwrap_or_else(last_day_over_everywhere),
        })
    }

    /// The number of facilities in one transaction. They have about 100,000 rows, so that a stop
    /// loses about a second of work and the write-ahead log stays small.
    fn chunk_for(&self, planned: &Counts) -> u32 {
        let rows_per_facility = planned.rows() / u64::from(self.facilities);
        self.chunk.unwrap_or((100_000 / rows_per_facility.max(1)).clamp(1, 1_000) as u32)
    }
}

/// The last day that is over in every zone: yesterday in the zone that is twelve hours behind UTC,
/// the last zone in which a day ends.
pub(in crate::tools) fn last_day_over_everywhere() -> Date {
    let furthest_behind = Timestamp::now() - 12.hours();
    let today = furthest_behind.to_zoned(jiff::tz::TimeZone::UTC).date();
    today.yesterday().unwrap_or(today)
}

fn told(outcome: &GenerateResult, started: Instant) -> String {
    let seconds = started.elapsed();
    let rate = (outcome.made.rows() as f64 / seconds.as_secs_f64().max(1e-6)) as u64;
    let digest = outcome.digest.map_or(String::new(), |digest| format!(", digest {digest:016x}"));
    format!(
        "Made {} rows in {} ({} rows/s){digest}.",
        HumanCount(outcome.made.rows()),
        shown(seconds),
        HumanCount(rate)
    )
}

fn log(
    args: &GenerateArgs,
    started: Instant,
    outcome: &GenerateResult,
    result: &Result<(), GenerateError>,
) {
    let made = outcome.made;
    tracing::info!(
        success = result.is_ok(),
        error = result.as_ref().err().map(tracing::field::display),
        dry_run = args.dry_run,
        seed = args.seed,
        facilities_asked = args.facilities,
        facilities_skipped = outcome.skipped_facilities,
        facilities = made.facilities,
        facility_days = made.facility_days,
        blood_banks = made.blood_banks,
        inventory = made.inventory,
        distributions = made.distributions,
        requests = made.requests,
        rows = made.rows(),
        duration_ms = started.elapsed().as_millis() as u64,
        peak_memory_bytes = memory().map(|memory| memory.peak),
        "generate finished"
    );
}

fn variance(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|v| (0.0..=1.0).contains(v))
        .ok_or_else(|| "a number from 0 to 1 is wanted, such as 0.3".into())
}

fn last_day(text: &str) -> Result<Date, String> {
    let date: Option<Date> = text.parse().ok();
    date.filter(|d| (1980..=9000).contains(&d.year()))
        .ok_or_else(|| "a date from 1980 on is wanted, such as 2026-11-20".into())
}

#[cfg(test)]
mod tests;
