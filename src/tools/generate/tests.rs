//! The generator and the load as a whole: reproducible, realistic, counted, and possible to stop.

use std::collections::HashMap;

use jiff::civil::date;
use sqlx::{AssertSqlSafe, Connection, Row as _};

use super::{
    data_set::{DataSet, Options},
    load::{check, dry_run},
    progress::Progress,
    region::REGIONS,
    rows::GeneratedRow,
    sink::connect,
    *,
};
use crate::{config::DatabaseSettings, domain::blood_type::BloodType};

fn args(facilities: u32) -> GenerateArgs {
    GenerateArgs {
        facilities,
        days: 4,
        template: TemplateChoice::Mixed,
        variance: 0.3,
        seed: 42,
        chunk: None,
        end_date: Some(date(2026, 3, 30)),
        dry_run: false,
        no_rebuild: true,
    }
}

fn set(seed: u64, template: Option<Template>) -> DataSet {
    DataSet::new(Options { seed, days: 4, template, variance: 0.3, last_day: date(2026, 3, 30) })
}

async fn loaded(args: &GenerateArgs, settings: &Settings) -> Result<GenerateResult, GenerateError> {
    let mut outcome = GenerateResult::default();
    load::run(args, args.data_set(), settings, &Progress::hidden(), &mut outcome).await?;
    Ok(outcome)
}

async fn digest(seed: u64) -> u64 {
    let mut outcome = GenerateResult::default();
    dry_run(&set(seed, None), 30, &Progress::hidden(), &mut outcome).await.unwrap();
    assert_eq!(outcome.made, set(seed, None).counts(0..30));
    outcome.digest.unwrap()
}

#[tokio::test]
async fn one_seed_makes_the_same_data_and_another_seed_other_data() {
    let made = digest(42).await;
    assert_eq!(digest(42).await, made);
    assert_ne!(digest(43).await, made);
    // The hash is fixed: a seed from a report must make the same data with every later release.
    assert_eq!(format!("{made:016x}"), "e0da1a661eec9cbc");
}

#[test]
fn counts_are_known_without_making_the_rows() {
    for facility in set(3, None).facilities(0..60) {
        let counts = facility.counts();
        assert_eq!(facility.bank_rows().count() as u64, counts.blood_banks);
        assert_eq!(facility.inventory_rows().count() as u64, counts.inventory);
        assert_eq!(facility.distribution_rows().count() as u64, counts.distributions);
        assert_eq!(facility.request_rows().count() as u64, counts.requests);
    }
}

#[test]
fn every_day_of_a_facility_has_a_delivery_and_a_request_in_it() {
    for facility in set(4, None).facilities(0..60) {
        let days: Vec<_> = facility.calendar.days.iter().map(|local| local.day).collect();
        let mut requests: Vec<_> = facility.request_rows().map(|row| row.created_at_ms).collect();
        requests.retain(|at| days.iter().any(|day| day.contains(*at)));
        assert_eq!(requests.len(), facility.request_rows().count());
        for day in &days {
            assert!(requests.iter().any(|at| day.contains(*at)));
            assert!(
                facility
                    .distribution_rows()
                    .filter_map(|row| row.date_delivered_ms)
                    .any(|at| day.contains(at))
            );
        }
        assert!(facility.distribution_rows().any(|row| row.date_delivered_ms.is_none()));
    }
}

#[test]
fn blood_types_occur_as_often_as_among_the_people_there() {
    let set = set(5, Some(Template::TraumaCentre));
    let region = &REGIONS[0];
    let mut drawn = HashMap::<BloodType, f64>::new();
    let rows =
        set.facilities(0..1_200).filter(|facility| facility.calendar.timezone == region.timezone);
    rows.flat_map(|facility| facility.inventory_rows().collect::<Vec<_>>())
        .for_each(|row| *drawn.entry(row.blood_type).or_default() += 1.0);
    let all: f64 = drawn.values().sum();
    assert!(all > 20_000.0);
    for (blood_type, wanted) in
        BloodType::NAMED.into_iter().zip(Template::TraumaCentre.blood_types(region.population))
    {
        let found = drawn[&blood_type] / all;
        assert!((found - wanted).abs() < 0.01, "{blood_type:?}: {found} for {wanted}");
    }
}

#[test]
fn a_few_lots_have_expired_and_the_others_keep_as_long_as_blood_does() {
    let (mut expired, mut all) = (0, 0);
    for facility in set(6, None).facilities(0..60) {
        let end_ms = facility.calendar.end_ms();
        for lot in facility.inventory_rows() {
            all += 1;
            expired += u32::from(lot.expires_at_ms <= end_ms);
            assert!((-2..=365).contains(&((lot.expires_at_ms - end_ms) / 86_400_000)));
        }
    }
    assert!((0.02..0.05).contains(&(f64::from(expired) / f64::from(all))), "{expired} of {all}");
}

#[test]
fn a_clinic_asks_by_day_and_a_trauma_centre_by_night_too() {
    let share_at_night = |template| {
        let set = set(7, Some(template));
        let mut night = (0.0, 0.0);
        for facility in set.facilities(0..40) {
            let zone = jiff::tz::TimeZone::get(facility.calendar.timezone).unwrap();
            for row in facility.request_rows() {
                let hour = Timestamp::from_millisecond(row.created_at_ms)
                    .unwrap()
                    .to_zoned(zone.clone())
                    .hour();
                night.0 += f64::from(u8::from(!(7..21).contains(&hour)));
                night.1 += 1.0;
            }
        }
        night.0 / night.1
    };
    assert_eq!(share_at_night(Template::RuralClinic), 0.0);
    assert!(share_at_night(Template::TraumaCentre) > 0.3);
}

#[test]
fn a_facility_costs_no_memory_for_its_rows() {
    // A load keeps only the seed of a facility. Its rows come from iterators, whose size does not
    // depend on the number of rows.
    let long = DataSet::new(Options { days: 3_000, ..set(8, None).options().clone() });
    let (short, long) = (set(8, None).facility(0), long.facility(0));
    assert!(long.counts().rows() > 100 * short.counts().requests);
    assert_eq!(size_of_val(&short.request_rows()), size_of_val(&long.request_rows()));
    assert!(size_of_val(&long.request_rows()) < 1_024 && size_of::<FacilitySeed>() < 512);
}

/// A new SQLite file. `tests/api/generate.rs` tests both stores.
struct Fresh {
    settings: Settings,
    _folder: tempfile::TempDir,
}

fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("new/data.db").display());
    let settings =
        Settings { database: DatabaseSettings { url, ..Default::default() }, ..Default::default() };
    Fresh { settings, _folder: folder }
}

/// Every row of the five tables, as text, in order.
async fn content(settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in [
        (rows::GeneratedFacility::TABLE, rows::GeneratedFacility::COLUMNS),
        (rows::BloodBankRow::TABLE, rows::BloodBankRow::COLUMNS),
        (rows::InventoryRow::TABLE, rows::InventoryRow::COLUMNS),
        (rows::DistributionRow::TABLE, rows::DistributionRow::COLUMNS),
        (rows::RequestRow::TABLE, rows::RequestRow::COLUMNS),
    ] {
        let column = |name: &&str| match *name {
            id if id.ends_with("id") => format!("lower(hex({id}))"),
            other => format!("coalesce(CAST({other} AS text), '-')"),
        };
        let list: Vec<_> = columns.iter().map(column).collect();
        let statement = AssertSqlSafe(format!(
            "SELECT {} AS line FROM {table} ORDER BY id",
            list.join(" || '|' || ")
        ));
        let mut connection = sqlx::SqliteConnection::connect(&settings.database.url).await.unwrap();
        let found = sqlx::query(statement).fetch_all(&mut connection).await.unwrap();
        all.extend(found.iter().map(|row| row.get::<String, _>("line")));
    }
    all
}

#[tokio::test]
async fn the_database_holds_the_requested_rows_with_any_chunk_size() {
    let mut contents = Vec::new();
    for chunk in [1, 5, 100] {
        let fresh = fresh();
        let args = GenerateArgs { chunk: Some(chunk), ..args(12) };
        let outcome = loaded(&args, &fresh.settings).await.unwrap();
        assert_eq!(outcome.made, args.data_set().counts(0..12));
        let content = content(&fresh.settings).await;
        assert_eq!(content.len() as u64, outcome.made.rows());
        contents.push(content);
    }
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_stopped_load_leaves_whole_facilities_and_a_rerun_makes_the_rest() {
    let (stopped, whole) = (fresh(), fresh());
    let args = args(12);
    loaded(&args, &whole.settings).await.unwrap();

    let set = args.data_set();
    let mut sink = connect(&stopped.settings.database).await.unwrap();
    load::load(&set, 5, 2, sink.as_mut(), &Progress::hidden(), &mut GenerateResult::default())
        .await
        .unwrap();
    let progress = Progress::hidden();
    progress.stop();
    let error = load::load(&set, 12, 4, sink.as_mut(), &progress, &mut GenerateResult::default())
        .await
        .unwrap_err();
    assert!(matches!(error, GenerateError::Stopped), "{error}");
    let half_way =
        sink.load(&set.facilities(5..9).collect::<Vec<_>>(), &progress).await.unwrap_err();
    assert!(matches!(half_way, GenerateError::Stopped), "{half_way}");
    assert_eq!(sink.count("facilities", set.ids(0..12)).await.unwrap(), 5);
    check(&set, 5, set.counts(0..5), sink.as_mut(), &Progress::hidden()).await.unwrap();
    drop(sink);

    let outcome = loaded(&args, &stopped.settings).await.unwrap();
    assert_eq!(outcome.skipped_facilities, 5);
    assert_eq!(outcome.made, set.counts(5..12));
    assert_eq!(content(&stopped.settings).await, content(&whole.settings).await);
}

#[tokio::test]
async fn a_rerun_on_a_later_day_goes_on_with_the_days_of_the_first() {
    let fresh = fresh();
    let first = args(3);
    loaded(&first, &fresh.settings).await.unwrap();
    let later = GenerateArgs { end_date: None, ..args(6) };
    let outcome = loaded(&later, &fresh.settings).await.unwrap();
    assert_eq!(outcome.skipped_facilities, 3);
    let other = GenerateArgs { end_date: Some(date(2026, 4, 2)), ..args(6) };
    let refusal = loaded(&other, &fresh.settings).await.unwrap_err().to_string();
    assert!(refusal.contains("2026-03-30") && refusal.contains("2026-04-02"), "{refusal}");
}

#[tokio::test]
async fn rows_changed_since_are_found_by_the_check() {
    let fresh = fresh();
    let args = args(3);
    loaded(&args, &fresh.settings).await.unwrap();
    let delete = "DELETE FROM blood_requests WHERE id IN (SELECT id FROM blood_requests LIMIT 1)";
    let mut connection =
        sqlx::SqliteConnection::connect(&fresh.settings.database.url).await.unwrap();
    sqlx::query(delete).execute(&mut connection).await.unwrap();
    let error = loaded(&args, &fresh.settings).await.unwrap_err();
    assert!(matches!(error, GenerateError::Mismatch { what: "blood_requests", .. }), "{error}");
}

#[tokio::test]
async fn a_sample_leaves_no_trace() {
    let fresh = fresh();
    let mut sink = connect(&fresh.settings.database).await.unwrap();
    let sample = sink.sample(&set(1, None).facilities(0..3).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(sample.rows, set(1, None).counts(0..3).rows());
    assert!(sample.bytes_per_row() > 50.0 && sample.rows_per_second() > 0.0, "{sample:?}");
    drop(sink);
    assert!(content(&fresh.settings).await.is_empty());
    if let Some(folder) = fresh.settings.database.url.strip_prefix("sqlite://") {
        let folder = std::path::Path::new(folder).parent().unwrap();
        let names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            names.iter().all(|name| name.to_string_lossy().starts_with("data.db")),
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn a_load_that_the_disk_cannot_hold_is_refused_before_it_begins() {
    let sqlite = fresh();
    let mut sink = connect(&sqlite.settings.database).await.unwrap();
    let set = set(1, None);
    let mut plan = plan::Plan::measured(&set, set.counts(0..3), 3, sink.as_mut()).await.unwrap();
    plan.check_disk().unwrap();
    plan.bytes = u64::MAX / 4;
    let error = plan.check_disk().unwrap_err();
    assert!(matches!(error, GenerateError::DiskTooSmall { .. }), "{error}");
    // Temporary files need space too, and a tenth of the rows' size is kept free. Other programs
    // write to the disk meanwhile.
    let free = free_bytes(plan.folder.as_deref().unwrap()).unwrap();
    for (bytes, passing_bytes, fits) in
        [(free / 2, free / 5, true), (free / 100 * 95, 0, false), (free / 2, free / 2, false)]
    {
        (plan.bytes, plan.passing_bytes) = (bytes, passing_bytes);
        assert_eq!(plan.check_disk().is_ok(), fits, "{bytes} and {passing_bytes} of {free}");
    }
    let said = plan.to_string();
    assert!(said.contains("Size ") && said.contains("Time ") && said.contains("free"), "{said}");
}

#[test]
fn the_command_line_refuses_options_that_make_no_data() {
    use clap::{Args, FromArgMatches};
    let parse = |words: &str| {
        let command =
            GenerateArgs::augment_args(clap::Command::new("generate").no_binary_name(true));
        GenerateArgs::from_arg_matches(
            &command.try_get_matches_from(words.split(' ')).map_err(|e| e.to_string())?,
        )
        .map_err(|e| e.to_string())
    };
    let given = parse(
        "--facilities 9 --days 2 --template trauma_centre --variance 0.5 --seed 8 --chunk 3 \
         --end-date 2026-01-05",
    )
    .unwrap();
    assert_eq!(
        (given.facilities, given.template.only(), given.end_date),
        (9, Some(Template::TraumaCentre), Some(date(2026, 1, 5)))
    );
    for (words, says) in [
        ("--facilities 0", "1..=1000000"),
        ("--facilities 5 --variance 2", "0 to 1"),
        ("--facilities 5 --variance NaN", "0 to 1"),
        ("--facilities 5 --template castle", "rural_clinic"),
        ("--facilities 5 --end-date 30.03.2026", "2026-11-20"),
        ("--facilities 5 --days 0", "1..=3660"),
    ] {
        let refusal = parse(words).unwrap_err();
        assert!(refusal.contains(says), "{words}: {refusal}");
    }
}
