//! The import into a target that records its calls: small files with the faults of real ones, and
//! the real files if they are present.

mod real_files;
mod runs;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use uuid::Uuid;

use super::{
    identity::{clean, facility_id},
    recorder::{NOW_MS, Recorder},
    *,
};
use crate::domain::{
    blood_type::BloodType,
    event::{Entity, EntityKind},
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ImportArgs,
}

/// The arguments of `import`, read as the command line reads them.
pub(super) fn args(kind: &str, file: &Path, options: &str) -> ImportArgs {
    let line =
        ["import", kind, file.to_str().unwrap()].into_iter().chain(options.split_whitespace());
    // A `_` stands for a space within a value.
    Line::try_parse_from(
        line.map(|word| if word.contains("%Y_%B") { "%Y %B".to_owned() } else { word.to_owned() }),
    )
    .unwrap()
    .args
}

/// Imports the file into the target.
pub(super) async fn import(
    target: &Recorder,
    kind: &str,
    file: &Path,
    options: &str,
) -> Result<ImportReport, ImportError> {
    run(args(kind, file, options), "import", target).await
}

/// The path of a fixture.
pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

/// A copy of a fixture, or a file with `content`, in a folder of its own: a run writes its rejects
/// file beside it.
pub(super) fn writable(name: &str, content: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    match content {
        Some(content) => fs::write(&path, content).unwrap(),
        None => fs::write(&path, fs::read(fixture(name)).unwrap()).unwrap(),
    }
    (folder, path)
}

pub(super) const STOCK: &str = "--columns facility=city,date=date,blood_type=blood_type,\
                                quantity=qValue --date-format %d-%m-%Y --set \
                                timezone=Europe/Warsaw";
const DEMAND: &str =
    "--columns created_at=YEAR+MONTH,quantity=QTY_DEMANDED --set facility=Tema --date-format %Y_%B";
const SUPPLY: &str = "--columns date_delivered=YEAR+MONTH,quantity=QTY_SUPPLIED --set \
                      facility=Tema --date-format %Y_%B";

#[tokio::test]
async fn names_are_cleaned_and_duplicates_are_one_facility() {
    let target = Recorder::default();
    let report = import(
        &target,
        "facilities",
        &fixture("facilities.csv"),
        "--columns name=name --set timezone=Asia/Kolkata",
    )
    .await
    .unwrap();
    let mut names: Vec<_> = target.facility_rows().into_iter().map(|row| row.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "BLOOD BANK CHITRAKOOT",
            "Blood Bank Chitrakoot",
            "Noble Trust’s Blood Bank",
            "Sant Kabir  Nagar, Annexe",
            "The \"Old\" Bank"
        ]
    );
    assert!(
        target
            .facility_rows()
            .iter()
            .all(|row| row.timezone == "Asia/Kolkata" && row.id == facility_id(&clean(&row.name)))
    );
    assert_eq!((report.rows_read, report.rows_written, report.facilities_registered), (6, 6, 5));
}

#[tokio::test]
async fn a_zone_given_later_moves_the_facilities_and_no_zone_moves_none() {
    let target = Recorder::default();
    for (options, zone, changed) in [
        ("--columns name=name", "UTC", 5),
        ("--columns name=name --set timezone=Asia/Kolkata", "Asia/Kolkata", 5),
        ("--columns name=name", "Asia/Kolkata", 0),
    ] {
        let report =
            import(&target, "facilities", &fixture("facilities.csv"), options).await.unwrap();
        assert_eq!(report.changed, changed);
        assert!(target.facility_rows().iter().all(|row| row.timezone == zone));
    }
}

#[tokio::test]
async fn stock_history_becomes_closed_days_with_any_line_ends() {
    let target = Recorder::default();
    let report = import(&target, "stock-history", &fixture("stock.csv"), STOCK).await.unwrap();
    assert_eq!((report.rows_read, report.facilities_registered, report.changed), (5, 2, 2 + 3));
    use BloodType::*;
    assert_eq!(
        target.stock_of("Białystok", "2022-08-27"),
        BTreeMap::from([(OPositive, 50), (AbNegative, 90)])
    );
    assert_eq!(
        target.stock_of("Łódź", "2022-08-27"),
        BTreeMap::from([(OPositive, 5), (Unknown, 5)])
    );
    assert_eq!(target.stock_of("Łódź", "2022-08-29"), BTreeMap::from([(OPositive, 20)]));
    assert_eq!(
        import(&target, "stock-history", &fixture("stock.csv"), STOCK).await.unwrap().changed,
        0
    );
}

#[tokio::test]
async fn each_fault_names_line_column_value_and_what_would_be_right() {
    let target = Recorder::default();
    let (_folder, file) = writable("stock_faults.csv", None);
    let report =
        import(&target, "stock-history", &file, &format!("{STOCK} --on-error skip")).await.unwrap();
    assert_eq!(
        (report.rows_read, report.rows_written, report.rows_skipped, report.facilities_registered),
        (15, 1, 14, 1)
    );
    let rejects = report.rejects.unwrap();
    assert_eq!(rejects.file_name().unwrap(), "stock_faults.csv.rejects.csv");
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(rejects).unwrap();
    assert_eq!(
        reader.headers().unwrap(),
        vec!["city", "blood_type", "quantity", "qValue", "date", "reject_line", "reject_reason"]
    );
    let rows: Vec<_> = reader.byte_records().map(Result::unwrap).collect();
    let reasons: Vec<_> =
        rows.iter().map(|row| String::from_utf8_lossy(&row[row.len() - 1]).into_owned()).collect();
    for (reason, wants) in reasons.iter().zip([
        "line 3, column \"qValue\": \"40\" is a second figure of this facility, day and blood \
         type: line 2 says 50. If both are right",
        "line 4, column \"blood_type\": \"C+\" is not a blood type; right would be O+",
        "line 5, column \"qValue\": \"\" is empty; a whole number of units is needed",
        "line 6, column \"qValue\": \"-1\" is too small; 0 or more is right",
        "line 7, column \"qValue\": \"2147483648\" is too large; at most 2147483647 is right",
        "line 8, column \"qValue\": \"1.5\" is not a whole number",
        "line 10, column \"date\": \"2022-08-27\" is not a date; right would be 27-08-2022, after \
         --date-format \"%d-%m-%Y\"",
        "line 11: the row has 4 cells, the header 5",
        "line 12: the row has 6 cells, the header 5",
        "line 13, column \"city\": \"\" is empty; a facility is needed",
        "line 14, column \"city\": \"Krak\u{fffd}w\" is not UTF-8; save the file in that encoding",
        "line 15, column \"date\": \"10-10-2025\" is 2025-10-10, which is not over where the \
         facility is (2025-10-10 in Europe/Warsaw)",
        "line 16, column \"qValue\": \"x\" is not a whole number",
        "line 17, column \"qValue\": \"50\" is a second figure of this facility, day and blood \
         type: line 2 says 50",
    ]) {
        assert!(reason.starts_with(wants), "{reason}");
    }
    assert_eq!(reasons.len(), 14);
    assert_eq!(&rows[5][2], b"Me\ndium", "the row is kept as it was");
    assert_eq!(&rows[10][0], b"Krak\xf3w", "the row is kept byte for byte");
}

#[tokio::test]
async fn a_missing_quantity_is_unknown_for_a_request_and_a_fault_for_a_delivery() {
    let target = Recorder::default();
    let (_folder, file) = writable("demand.csv", None);
    let requests =
        import(&target, "requests", &file, &format!("{DEMAND} --on-error skip")).await.unwrap();
    let deliveries = import(&target, "distributions", &file, &format!("{SUPPLY} --on-error skip"))
        .await
        .unwrap();
    assert_eq!((requests.rows_written, requests.rows_skipped), (4, 1));
    assert_eq!((deliveries.rows_written, deliveries.rows_skipped), (3, 2));
    let units = |month: &str, units| (format!("2013-{month}-01T00:00:00Z"), units);
    // The equal rows of January are two requests.
    let wants =
        [units("01", Some(162)), units("01", Some(162)), units("02", None), units("03", Some(229))];
    assert_eq!(target.units(EntityKind::Request), wants);
    assert_eq!(
        target.units(EntityKind::Distribution),
        [units("01", Some(136)), units("01", Some(136)), units("02", Some(202))]
    );
    assert_eq!(target.facility_rows().len(), 1);
}

#[tokio::test]
async fn importing_a_file_twice_changes_nothing_not_even_what_was_corrected_since() {
    let target = Recorder::default();
    let (_folder, file) = writable("demand.csv", None);
    let options = format!("{DEMAND} --on-error skip");
    import(&target, "requests", &file, &options).await.unwrap();
    for record in target.records.lock().unwrap().values_mut() {
        if let Some(Entity::Request { quantity, .. }) = &mut record.entity {
            (*quantity, record.event_time_ms) = (Some(1), NOW_MS);
        }
    }
    let before = target.records.lock().unwrap().clone();
    // The order of the columns does not change the id of a row.
    let reordered = options.replace(
        "created_at=YEAR+MONTH,quantity=QTY_DEMANDED",
        "quantity=QTY_DEMANDED,created_at=YEAR+MONTH",
    );
    let report = import(&target, "requests", &file, &reordered).await.unwrap();
    assert_eq!((report.changed, report.facilities_registered), (0, 0));
    assert_eq!(*target.records.lock().unwrap(), before);
    assert!(report.to_string().contains("nothing changed"));
}

#[tokio::test]
async fn rows_with_ids_keep_them_and_one_id_cannot_be_two_rows() {
    let target = Recorder::default();
    let id = Uuid::from_u128(5);
    let content = format!(
        "id,at,to,n\n{id},2020-01-01T10:00:00Z,Tema,3\n{id},2020-01-01T10:00:00Z,Tema,3\n{id},\
         2020-01-01T10:00:00Z,Tema,4\n"
    );
    let (_folder, file) = writable("ids.csv", Some(&content));
    let error = import(
        &target,
        "distributions",
        &file,
        "--columns id=id,date_delivered=at,facility=to,quantity=n",
    )
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("line 4, column \"id\"")
            && error.to_string().contains("contradicts an earlier row"),
        "{error}"
    );
    import(
        &target,
        "distributions",
        &file,
        "--columns id=id,date_delivered=at,facility=to,quantity=n --on-error skip",
    )
    .await
    .unwrap();
    assert!(target.records.lock().unwrap().contains_key(&(EntityKind::Distribution, id)));
    assert_eq!(
        target.units(EntityKind::Distribution),
        [("2020-01-01T10:00:00Z".to_owned(), Some(3))]
    );
}

#[tokio::test]
async fn rows_with_future_dates_are_refused() {
    let (_folder, file) =
        writable("future.csv", Some("at\n2025-10-09T22:34:00Z\n2025-10-09T22:36:00Z\n"));
    let error = import(
        &Recorder::default(),
        "requests",
        &file,
        "--columns created_at=at --set facility=Tema",
    )
    .await
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 3, column \"at\": \"2025-10-09T22:36:00Z\" lies in the future"),
        "{error}"
    );
}

/// A copy of one of the real files; `None` when it is not on this machine. They are not part of the
/// repository.
pub(super) fn real(name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = env::var_os("FACILITY_SUMMARY_REAL_DATA").map_or_else(beside, PathBuf::from);
    fs::read_to_string(folder.join(name)).ok().map(|content| writable(name, Some(&content)))
}
