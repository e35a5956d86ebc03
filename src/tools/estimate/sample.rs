//! The measurements: samples of two sizes are loaded and rebuilt, so that what grows with the rows
//! can be told from what does not.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};
use uuid::Uuid;

use crate::{
    config::Settings,
    domain::summary::{KnownFigures, SummaryRow},
    jobs::rebuild::Extent,
    startup::Core,
    tools::generate::{
        DataSet, FacilitySeed, GenerateError, Progress, Scratch, Sink, SqliteSink, memory,
    },
};

/// The numbers of facilities in the two samples. Their difference shows what grows with the rows.
pub const SAMPLE: [u32; 2] = [10, 40];

/// How something grows with the rows: `at_none + per_row * rows`.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    at_none: f64,
    /// What each row adds.
    pub per_row: f64,
}

impl Growth {
    /// The straight line through two measurements, each (rows, value). When noise makes it fall,
    /// the line goes through zero and the larger measurement instead.
    fn through(small: (f64, f64), large: (f64, f64)) -> Self {
        let per_row = (large.1 - small.1) / (large.0 - small.0);
        let at_none = large.1 - per_row * large.0;
        if per_row > 0.0 && at_none >= 0.0 {
            Growth { at_none, per_row }
        } else {
            Growth { at_none: 0.0, per_row: large.1 / large.0 }
        }
    }

    /// The value at that number of rows.
    pub fn at(&self, rows: u64) -> f64 {
        self.at_none + self.per_row * rows as f64
    }
}

/// What the samples showed.
#[derive(Debug)]
pub struct Measured {
    /// Rows of the larger sample.
    pub rows: u64,
    /// Time to load the rows.
    pub load_seconds: Growth,
    /// Size of the database file.
    pub database_bytes: Growth,
    /// Time to make all summaries for the first time.
    pub rebuild_seconds: Growth,
    /// Time of a scheduled rebuild.
    pub tick_seconds: Growth,
    /// Bytes of a summary's JSON.
    pub body_bytes: f64,
    /// Bytes that a summary takes in memory, with its key.
    pub held_bytes: f64,
    /// Bytes of this process now.
    pub process_bytes: u64,
}

/// The measurements of a sample of one size.
struct Point {
    rows: f64,
    load_seconds: f64,
    database_bytes: f64,
    rebuild_seconds: f64,
    tick_seconds: f64,
    body_bytes: f64,
}

impl Measured {
    /// Measures samples of both sizes in `folder`.
    pub async fn sample(
        set: &DataSet,
        settings: &Settings,
        folder: &Path,
    ) -> Result<Self, GenerateError> {
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
    /// Loads that many facilities into an SQLite file of their own, and rebuilds them as the
    /// service does: all days once, and then a scheduled rebuild.
    async fn measured(
        set: &DataSet,
        facilities: u32,
        settings: &Settings,
        folder: &Path,
    ) -> Result<Self, GenerateError> {
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
        // The best of three, since other programs on this machine may slow one down.
        let mut tick = rebuild;
        for _ in 0..3 {
            tick =
                tick.min(self::rebuild(&core, Extent::Recent(core.settings.rebuild.days)).await?);
        }
        let ids: Vec<Uuid> = seeds.iter().map(|facility| facility.id).collect();
        let rows = core.store.summaries(&core.store.stored_dates(&ids).await?).await?.rows;
        core.store.close().await;
        let body_bytes: usize =
            rows.iter().map(|row| row.summary.to_json(KnownFigures::ALL).len()).sum();
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

async fn rebuild(core: &Core, extent: Extent) -> Result<Duration, GenerateError> {
    let started = Instant::now();
    // The log lines of this rebuild would be about the sample, so they are left out.
    core.rebuild.run_command(extent, None, |_| ()).with_subscriber(NoSubscriber::default()).await?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_goes_through_both_points_and_never_falls() {
        let line = Growth::through((10.0, 7.0), (20.0, 9.0));
        assert_eq!((line.at(10), line.at(20), line.at(100)), (7.0, 9.0, 25.0));
        let noisy = Growth::through((10.0, 9.0), (20.0, 8.0));
        assert_eq!((noisy.at(0), noisy.at(40)), (0.0, 16.0));
    }
}
