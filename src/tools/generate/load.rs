//! The run: it loads chunk after chunk, each in one transaction. Then it counts the rows in the
//! database, and compares them with what was requested.

use indicatif::HumanCount;
use xxhash_rust::xxh3::Xxh3;

use super::{
    GenerateArgs, GenerateError, GenerateResult,
    copy_format::CopyBuffer,
    data_set::{Counts, DataSet, FacilitySeed, last_day_to_ms},
    plan::Plan,
    progress::Progress,
    rows::GeneratedRow,
    sink::{Sink, connect},
};
use crate::config::Settings;

/// Loads the missing facilities of the data set, and checks all of it. `outcome` is correct at
/// every moment, also when the run is stopped or fails.
pub async fn run(
    args: &GenerateArgs,
    set: DataSet,
    settings: &Settings,
    progress: &Progress,
    outcome: &mut GenerateResult,
) -> Result<(), GenerateError> {
    let mut sink = connect(&settings.database).await?;
    let set = continued(args, set, sink.as_mut()).await?;
    let asked = set.counts(0..args.facilities);
    let chunk = args.chunk_for(&asked);
    let plan = Plan::measured(&set, asked, chunk, sink.as_mut()).await?;
    println!("{plan}");
    plan.check_disk()?;
    progress.expect(asked.rows());
    load(&set, args.facilities, chunk, sink.as_mut(), progress, outcome).await?;
    sink.settle().await?;
    check(&set, args.facilities, asked, sink.as_mut(), progress).await
}

/// The data set with the last day of an earlier run, so that a run that was stopped yesterday can
/// be continued. Fails when the user requested another last day.
async fn continued(
    args: &GenerateArgs,
    set: DataSet,
    sink: &mut dyn Sink,
) -> Result<DataSet, GenerateError> {
    const DAY_MS: i64 = 86_400_000;
    let asked = set.options().last_day;
    // A facility that was registered again since has another time, which is not that of a data set.
    let Some(there_ms) =
        sink.event_time_ms(set.facility(0).id).await?.filter(|ms| ms % DAY_MS == 0)
    else {
        return Ok(set);
    };
    let there = jiff::Timestamp::from_millisecond(there_ms)
        .map_or(asked, |at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    if last_day_to_ms(asked) == there_ms {
        Ok(set)
    } else if args.end_date.is_some() {
        Err(GenerateError::OtherDays { there, asked })
    } else {
        Ok(set.ending(there))
    }
}

/// Loads chunk after chunk, without the facilities that are already there.
pub(super) async fn load(
    set: &DataSet,
    facilities: u32,
    chunk: u32,
    sink: &mut dyn Sink,
    progress: &Progress,
    outcome: &mut GenerateResult,
) -> Result<(), GenerateError> {
    for first in (0..facilities).step_by(chunk as usize) {
        let numbers = first..first.saturating_add(chunk).min(facilities);
        let there = sink.existing(set.ids(numbers.clone())).await?;
        let (known, missing): (Vec<_>, Vec<_>) =
            set.facilities(numbers).partition(|facility| there.contains(&facility.id));
        for facility in known {
            outcome.skipped_facilities += 1;
            progress.skip(facility.counts().rows());
        }
        if !missing.is_empty() {
            sink.load(&missing, progress).await?;
            missing.iter().for_each(|facility| outcome.made += facility.counts());
        }
        progress.advance(0)?;
    }
    Ok(())
}

/// Counts the rows of the data set in the database. Fails when a number is not the requested one.
pub(super) async fn check(
    set: &DataSet,
    facilities: u32,
    asked: Counts,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<(), GenerateError> {
    let ids = set.ids(0..facilities);
    let tables = [
        ("facilities", asked.facilities),
        ("blood_banks", asked.blood_banks),
        ("blood_inventory", asked.inventory),
        ("blood_distributions", asked.distributions),
        ("blood_requests", asked.requests),
    ];
    for (table, planned) in tables {
        progress.advance(0)?;
        equal(table, sink.count(table, ids.clone()).await?, planned)?;
    }
    let mut active = 0;
    for calendar in set.calendars() {
        progress.advance(0)?;
        let days: Vec<_> = calendar.days.iter().map(|local| local.day).collect();
        active += sink.active_days(ids.clone(), calendar.timezone, &days).await?;
    }
    equal("facility-days with deliveries and requests", active, asked.facility_days)
}

fn equal(what: &'static str, found: u64, planned: u64) -> Result<(), GenerateError> {
    if found == planned {
        Ok(())
    } else {
        Err(GenerateError::Mismatch {
            what,
            found: HumanCount(found),
            planned: HumanCount(planned),
        })
    }
}

/// Makes every row in memory, one after the other; counts and hashes them.
pub async fn dry_run(
    set: &DataSet,
    facilities: u32,
    progress: &Progress,
    outcome: &mut GenerateResult,
) -> Result<(), GenerateError> {
    let asked = set.counts(0..facilities);
    progress.expect(asked.rows());
    let mut digest = Digest::default();
    for facility in set.facilities(0..facilities) {
        let before = digest.rows;
        digest.facility(&facility);
        outcome.made += facility.counts();
        progress.advance(digest.rows - before)?;
        // The task that waits for Ctrl-C may run on this thread.
        tokio::task::yield_now().await;
    }
    outcome.digest = Some(digest.hash.digest());
    equal("rows", digest.rows, asked.rows())
}

/// A hash of rows in the order in which they are made, facility by facility.
#[derive(Default)]
struct Digest {
    hash: Xxh3,
    rows: u64,
    buffer: CopyBuffer,
}

impl Digest {
    fn facility(&mut self, facility: &FacilitySeed) {
        self.add(std::iter::once(facility.row()));
        self.add(facility.bank_rows());
        self.add(facility.inventory_rows());
        self.add(facility.distribution_rows());
        self.add(facility.request_rows());
    }

    fn add<R: GeneratedRow>(&mut self, rows: impl Iterator<Item = R>) {
        for row in rows {
            self.buffer.push(&row);
            self.rows += 1;
            if self.buffer.bytes().len() > 1 << 16 {
                self.flush();
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.hash.update(self.buffer.bytes());
        self.buffer.clear();
    }
}
