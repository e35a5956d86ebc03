//! `estimate`: what N facilities cost, by a sample that is generated, loaded into a temporary
//! SQLite file and measured there and then.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};
use uuid::Uuid;

use super::generate::{
    DataSet, Error, FacilitySeed, Options, Progress, Scratch, Sink, SqliteSink, free_bytes,
    last_day_over_everywhere, memory, shown,
};
use crate::{config::Settings, domain::summary::SummaryRow, jobs::rebuild::Extent, startup::Core};

/// Says what a number of facilities costs in rows, bytes and time, and which approach serves.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  facility-summary estimate --facilities 50000 --days 30

Nothing is taken from a table of constants: a sample of 40 facilities is generated, loaded into a
temporary SQLite file, summarised and measured on this machine. What lies beyond the sample is
extended in a straight line.")]
pub struct EstimateArgs {
    /// The largest number of facilities to look at, 1 to 1,000,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub facilities: u32,
    /// Local days of deliveries and requests for each facility, 1 to 3,660
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    pub days: u32,
}

/// The sample is measured at two sizes: what does not grow with the rows shows in the difference.
const SAMPLE: [u32; 2] = [10, 40];
/// What loads and is summarised within a second is done at once; more is cut into chunks.
const ONE_BATCH: Duration = Duration::from_secs(1);
/// A twentieth of the five minutes between scheduled rebuilds: beyond it they take too much from
/// those who read and write.
const LONGEST_TICK: Duration = Duration::from_secs(15);
/// Longer loads are worth being able to stop and go on.
const LONG_LOAD: Duration = Duration::from_secs(60);

/// Runs the command: prints the table.
pub async fn run(args: EstimateArgs, settings: &Settings) -> Result<(), Error> {
    println!("{}", estimate(&args, settings, &sample_folder(settings)).await?);
    Ok(())
}

/// Where the SQLite file lies, so that its own disk is measured; else where temporary files go.
fn sample_folder(settings: &Settings) -> PathBuf {
    let file = settings.database.url.strip_prefix("sqlite://").map(Path::new);
    file.and_then(Path::parent)
        .filter(|folder| folder.is_dir())
        .map_or_else(std::env::temp_dir, Path::to_owned)
}

/// Measures a sample in `folder` and extends it.
pub async fn estimate(
    args: &EstimateArgs,
    settings: &Settings,
    folder: &Path,
) -> Result<Table, Error> {
    let set = DataSet::new(Options {
        seed: 1,
        days: args.days,
        template: None,
        variance: 0.3,
        last_day: last_day_over_everywhere(),
    });
    let measured = Measured::sample(&set, settings, folder).await?;
    let room = Room { memory: available_memory(), disk: free_bytes(folder) };
    let lines = sizes(args.facilities)
        .map(|facilities| Line::at(&set, facilities, &measured, &room))
        .collect();
    Ok(Table { measured, lines, for_postgres: settings.database.is_postgres() })
}

/// 5, 10, 25, 50, 100, … below `most`, then `most`.
fn sizes(most: u32) -> impl Iterator<Item = u32> {
    let steps = (0..).flat_map(|power| [5, 10, 25].map(|step| step * 10u64.pow(power)));
    steps.map_while(move |size| u32::try_from(size).ok().filter(|size| *size < most)).chain([most])
}

/// How something grows with the rows: `at_none + per_row * rows`.
#[derive(Debug, Clone, Copy)]
struct Growth {
    at_none: f64,
    per_row: f64,
}

impl Growth {
    /// Through two measurements, each (rows, value). Where noise would make it fall, it is drawn
    /// through the larger and nothing.
    fn through(small: (f64, f64), large: (f64, f64)) -> Self {
        let per_row = (large.1 - small.1) / (large.0 - small.0);
        let at_none = large.1 - per_row * large.0;
        if per_row > 0.0 && at_none >= 0.0 {
            Growth { at_none, per_row }
        } else {
            Growth { at_none: 0.0, per_row: large.1 / large.0 }
        }
    }

    fn at(&self, rows: u64) -> f64 {
        self.at_none + self.per_row * rows as f64
    }
}

/// What the sample showed.
#[derive(Debug)]
pub struct Measured {
    rows: u64,
    load_seconds: Growth,
    database_bytes: Growth,
    rebuild_seconds: Growth,
    tick_seconds: Growth,
    /// A summary's JSON, and what it takes in memory with its key.
    body_bytes: f64,
    held_bytes: f64,
    process_bytes: u64,
}

/// One size of the sample.
struct Point {
    rows: f64,
    load_seconds: f64,
    database_bytes: f64,
    rebuild_seconds: f64,
    tick_seconds: f64,
    body_bytes: f64,
}

impl Measured {
    async fn sample(set: &DataSet, settings: &Settings, folder: &Path) -> Result<Self, Error> {
        let small = Point::measured(set, SAMPLE[0], settings, folder).await?;
        let large = Point::measured(set, SAMPLE[1], settings, folder).await?;
        let growth = |value: fn(&Point) -> f64| {
            Growth::through((small.rows, value(&small)), (large.rows, value(&large)))
        };
        Ok(Measured {
            rows: large.rows as u64,
            load_seconds: growth(|p| p.load_seconds),
            database_bytes: growth(|p| p.database_bytes),
            rebuild_seconds: growth(|p| p.rebuild_seconds),
            tick_seconds: growth(|p| p.tick_seconds),
            body_bytes: large.body_bytes,
            held_bytes: large.body_bytes + size_of::<SummaryRow>() as f64,
            process_bytes: memory().map_or(0, |memory| memory.now),
        })
    }
}

impl Point {
    /// Loads so many facilities into an SQLite file of their own and rebuilds them as the service
    /// does: all days once, then a tick.
    async fn measured(
        set: &DataSet,
        facilities: u32,
        settings: &Settings,
        folder: &Path,
    ) -> Result<Self, Error> {
        let scratch = Scratch::within(folder)?;
        let mut sink = SqliteSink::connect(&scratch.database_url()).await?;
        let seeds: Vec<FacilitySeed> = set.facilities(0..facilities).collect();
        let (progress, started) = (Progress::hidden(), Instant::now());
        sink.load(&seeds, &progress).await?;
        sink.settle().await?;
        let load = started.elapsed();

        let mut settings = settings.clone();
        settings.database.url = scratch.database_url();
        let core = Core::open(settings).await?;
        let rebuild = rebuild(&core, Extent::All).await?;
        // The best of three: what else runs on this machine is not what is asked about.
        let mut tick = rebuild;
        for _ in 0..3 {
            tick =
                tick.min(self::rebuild(&core, Extent::Recent(core.settings.rebuild.days)).await?);
        }
        let ids: Vec<Uuid> = seeds.iter().map(|facility| facility.id).collect();
        let rows = core.store.summaries(&core.store.stored_dates(&ids).await?).await?.rows;
        core.store.close().await;
        let body_bytes: usize = rows.iter().map(|row| row.summary.to_json().len()).sum();
        Ok(Point {
            rows: progress.rows() as f64,
            load_seconds: load.as_secs_f64(),
            database_bytes: sink.size_bytes().await? as f64,
            rebuild_seconds: rebuild.as_secs_f64(),
            tick_seconds: tick.as_secs_f64(),
            body_bytes: body_bytes as f64 / rows.len().max(1) as f64,
        })
    }
}

async fn rebuild(core: &Core, extent: Extent) -> Result<Duration, Error> {
    let started = Instant::now();
    // Its log lines are about a sample that nobody asked for.
    core.rebuild.run_command(extent, |_| ()).with_subscriber(NoSubscriber::default()).await?;
    Ok(started.elapsed())
}

/// What this machine has left; `None` where it does not say.
struct Room {
    memory: Option<u64>,
    disk: Option<u64>,
}

fn available_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// One size.
#[derive(Debug)]
pub struct Line {
    pub facilities: u32,
    pub rows: u64,
    pub database_bytes: u64,
    /// The summaries of all facilities and days.
    pub json_bytes: u64,
    /// A process that holds today's summary of every facility.
    pub memory_bytes: u64,
    pub load: Duration,
    /// The summaries of all facilities and days, made for the first time.
    pub rebuild: Duration,
    /// A scheduled rebuild, which finds nothing to write.
    pub tick: Duration,
    pub approach: &'static str,
    pub risk: String,
}

impl Line {
    fn at(set: &DataSet, facilities: u32, measured: &Measured, room: &Room) -> Self {
        let counts = set.counts(0..facilities);
        let rows = counts.rows();
        let seconds = |growth: &Growth| Duration::from_secs_f64(growth.at(rows));
        let mut line = Line {
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

/// What `estimate` prints.
#[derive(Debug)]
pub struct Table {
    measured: Measured,
    pub lines: Vec<Line>,
    /// The settings name Postgres, which this is no measurement of.
    for_postgres: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rise_by_steps_up_to_the_one_asked_for() {
        assert_eq!(sizes(1_000).collect::<Vec<_>>(), [5, 10, 25, 50, 100, 250, 500, 1_000]);
        assert_eq!(sizes(7).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(sizes(5).collect::<Vec<_>>(), [5]);
        assert_eq!(sizes(3).collect::<Vec<_>>(), [3]);
        assert_eq!(sizes(1_000_000).last(), Some(1_000_000));
    }

    #[test]
    fn growth_goes_through_both_points_and_never_falls() {
        let line = Growth::through((10.0, 7.0), (20.0, 9.0));
        assert_eq!((line.at(10), line.at(20), line.at(100)), (7.0, 9.0, 25.0));
        let noisy = Growth::through((10.0, 9.0), (20.0, 8.0));
        assert_eq!((noisy.at(0), noisy.at(40)), (0.0, 16.0));
    }

    #[tokio::test]
    async fn the_sample_is_measured_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let table = estimate(
            &EstimateArgs { facilities: 50_000, days: 3 },
            &Settings::default(),
            folder.path(),
        )
        .await
        .unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let [first, .., last] = table.lines.as_slice() else { panic!("several lines") };
        assert_eq!((first.facilities, last.facilities), (5, 50_000));
        assert!(
            first.rows < last.rows
                && first.database_bytes < last.database_bytes
                && first.load < last.load
        );
        assert!(table.lines.is_sorted_by_key(|line| (line.rows, line.memory_bytes)));
        let printed = table.to_string();
        assert!(printed.contains("one batch") && printed.contains("50,000"), "{printed}");
    }

    #[test]
    fn advice_follows_what_was_measured() {
        let line = |database_bytes, load_ms, tick_ms| Line {
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
