//! `estimate`: what a number of facilities costs. A sample is generated, loaded into a temporary
//! SQLite file, and measured on this machine.

mod line;
mod sample;
mod table;

use std::path::{Path, PathBuf};

use self::{
    line::{EstimateLine, Room},
    sample::Measured,
    table::Table,
};
use super::generate::{DataSet, GenerateError, Options, last_day_over_everywhere};
use crate::config::Settings;

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

/// Runs the command: prints the table. Fails when the sample cannot be loaded or measured.
pub async fn run(args: EstimateArgs, settings: &Settings) -> Result<(), GenerateError> {
    println!("{}", estimate(&args, settings, &sample_folder(settings)).await?);
    Ok(())
}

/// The folder of the SQLite file, so that its own disk is measured; otherwise the folder of
/// temporary files.
fn sample_folder(settings: &Settings) -> PathBuf {
    let file = settings.database.url.strip_prefix("sqlite://").map(Path::new);
    file.and_then(Path::parent)
        .filter(|folder| folder.is_dir())
        .map_or_else(std::env::temp_dir, Path::to_owned)
}

/// Measures a sample in `folder`, and computes each size from it. Leaves nothing in the folder.
pub async fn estimate(
    args: &EstimateArgs,
    settings: &Settings,
    folder: &Path,
) -> Result<Table, GenerateError> {
    let set = DataSet::new(Options {
        seed: 1,
        days: args.days,
        template: None,
        variance: 0.3,
        last_day: last_day_over_everywhere(),
    });
    let measured = Measured::sample(&set, settings, folder).await?;
    let room = Room::of(folder);
    let lines = sizes(args.facilities)
        .map(|facilities| EstimateLine::at(&set, facilities, &measured, &room))
        .collect();
    Ok(Table { measured, lines, for_postgres: settings.database.is_postgres() })
}

/// 5, 10, 25, 50, 100, … below `most`, then `most`.
fn sizes(most: u32) -> impl Iterator<Item = u32> {
    let steps = (0..).flat_map(|power| [5, 10, 25].map(|step| step * 10u64.pow(power)));
    steps.map_while(move |size| u32::try_from(size).ok().filter(|size| *size < most)).chain([most])
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
}
