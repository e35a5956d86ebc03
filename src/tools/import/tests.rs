//! The import against a target that remembers, on small files with the faults of real ones, and on
//! the real files where they are present.

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
    event::{Entity, Kind},
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ImportArgs,
}

/// The arguments, as the command line gives them.
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

pub(super) async fn import(
    target: &Recorder,
    kind: &str,
    file: &Path,
    options: &str,
) -> Result<ImportReport, ImportError> {
    run(args(kind, file, options), "import", target).await
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

/// A copy of a fixture or of `content` in a folder of its own, for runs that write a rejects file
/// beside it.
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
async fn stock_history_becomes_closed_days_whatever_the_line_ends() {
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
    assert_eq!(&rows[10][0], b"Krak\xf3w", "byte for byte");
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
    assert_eq!(target.units(Kind::Request), wants);
    assert_eq!(
        target.units(Kind::Distribution),
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
    // The order of the columns is nothing to a row's identity.
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
    assert!(target.records.lock().unwrap().contains_key(&(Kind::Distribution, id)));
    assert_eq!(target.units(Kind::Distribution), [("2020-01-01T10:00:00Z".to_owned(), Some(3))]);
}

#[tokio::test]
async fn what_lies_in_the_future_has_not_happened() {
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

/// A file of many rows, the last of which is faulty.
fn long_file() -> (tempfile::TempDir, PathBuf) {
    let rows: String = (0..2_500).map(|n| format!("2020-01-01,{n}\n")).collect();
    writable("long.csv", Some(&format!("at,n\n{rows}2020-01-01,many\n")))
}

const LONG: &str = "--columns created_at=at,quantity=n --set facility=Tema";

#[tokio::test]
async fn a_fault_stops_the_file_and_leaves_whole_chunks() {
    let target = Recorder::default();
    let (_folder, file) = long_file();
    let error = import(&target, "requests", &file, LONG).await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let message = error.to_string();
    assert!(
        message.contains(
            "line 2502, column \"n\": \"many\" is not a whole number of units such as 12\n2000 \
             rows before it are in"
        ),
        "{message}"
    );
    assert_eq!(target.units(Kind::Request).len(), 2_000);
}

#[tokio::test]
async fn a_run_that_broke_off_goes_on_when_started_again() {
    let target = Recorder::default();
    *target.calls_left.lock().unwrap() = Some(2);
    let (_folder, file) = long_file();
    let skip = format!("{LONG} --on-error skip");
    let error = import(&target, "requests", &file, &skip).await.unwrap_err();
    assert!(
        error.to_string().contains("the database is gone\n2000 rows before it are in"),
        "{error}"
    );
    *target.calls_left.lock().unwrap() = None;
    let report = import(&target, "requests", &file, &skip).await.unwrap();
    assert_eq!((report.rows_written, report.changed, report.rows_skipped), (2_500, 500, 1));
    assert_eq!(target.units(Kind::Request).len(), 2_500);
}

#[tokio::test]
async fn a_quote_that_is_never_closed_swallows_nothing_silently() {
    for options in ["--columns name=name", "--columns name=name --on-error skip"] {
        let (_folder, file) = writable("unclosed_quote.csv", None);
        let error = import(&Recorder::default(), "facilities", &file, options).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 3: a double quote opens in this row and is not closed"),
            "{error}"
        );
    }
    let (_folder, file) =
        writable("swallowed.csv", Some(&format!("name\n\"Accra\n{}", "x,y\n".repeat(600_000))));
    let error =
        import(&Recorder::default(), "facilities", &file, "--columns name=name").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 2: a double quote opens in this row and is not closed within 1024 KiB"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_are_no_csv_are_told_so() {
    let (folder, _) = writable("empty.csv", None);
    for (file, wants) in [
        (fixture("utf16.csv"), "utf16.csv is text in UTF-16"),
        (fixture("empty.csv"), "is empty; a header line with the columns' names is expected"),
        (folder.path().to_owned(), "it is a folder; a CSV file is expected"),
        (folder.path().join("none.csv"), "none.csv: No such file"),
    ] {
        let error = import(&Recorder::default(), "facilities", &file, "--columns name=name")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(wants), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[tokio::test]
async fn wrong_use_writes_nothing_and_exits_with_2() {
    let target = Recorder::default();
    for options in [
        "--columns name=Name",
        "--columns title=name",
        "--columns timezone=name",
        "--columns name=name --date-format %d",
    ] {
        let error =
            import(&target, "facilities", &fixture("facilities.csv"), options).await.unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    assert!(target.facility_rows().is_empty());
}

#[tokio::test]
async fn a_file_of_which_every_row_is_refused_has_failed() {
    let (_folder, file) = writable("stock.csv", None);
    let options = STOCK.replace("%d-%m-%Y", "%m/%d/%Y");
    let error =
        import(&Recorder::default(), "stock-history", &file, &format!("{options} --on-error skip"))
            .await
            .unwrap_err();
    assert!(error.to_string().contains("every one of the 5 rows was refused"), "{error}");
    assert_eq!(error.exit_code(), 1);
}

/// A copy of one of the real files, which are not part of the repository; `None` where they are not
/// at hand.
pub(super) fn real(name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = env::var_os("FACILITY_SUMMARY_REAL_DATA").map_or_else(beside, PathBuf::from);
    fs::read_to_string(folder.join(name)).ok().map(|content| writable(name, Some(&content)))
}

#[tokio::test]
async fn the_real_blood_banks_of_india() {
    let Some((_folder, file)) = real("blood_banks_india.csv") else { return };
    let target = Recorder::default();
    for changed in [2_140, 0] {
        let report = import(&target, "facilities", &file, "--columns name=name").await.unwrap();
        assert_eq!(
            (report.rows_read, report.rows_written, report.changed),
            (2_174, 2_174, changed)
        );
    }
    assert!(
        target
            .facility_rows()
            .iter()
            .any(|row| row.name == "Sri Guru Harkrishan\u{a0}Sahib Charitable Eye Hospital-Sohana")
    );
}

#[tokio::test]
async fn the_real_stocks_of_poland() {
    let Some((_folder, file)) = real("blood_stock_poland.csv") else { return };
    let target = Recorder::default();
    for (changed, registered) in [(21 * 84 + 21, 21), (0, 0)] {
        let report = import(&target, "stock-history", &file, STOCK).await.unwrap();
        assert_eq!(
            (report.rows_written, report.facilities_registered, report.changed),
            (14_112, registered, changed)
        );
    }
    assert_eq!(target.stock.lock().unwrap().len(), 21 * 84);
    assert!(target.stock.lock().unwrap().values().all(|types| types.len() == 8));
    assert_eq!(target.stock_of("Zielona Góra", "2023-01-06")[&BloodType::AbNegative], 5);
}

#[tokio::test]
async fn the_real_demand_and_supply_of_tema() {
    let Some((_folder, file)) = real("blood_demand_tema_ghana.csv") else { return };
    let target = Recorder::default();
    let requests = import(&target, "requests", &file, DEMAND).await.unwrap();
    assert_eq!(
        (
            requests.rows_written,
            target.units(Kind::Request).iter().filter(|(_, units)| units.is_none()).count()
        ),
        (93, 13)
    );
    let stopped = import(&target, "distributions", &file, SUPPLY).await.unwrap_err().to_string();
    assert!(stopped.contains("line 12, column \"QTY_SUPPLIED\": \"\" is empty"), "{stopped}");
    let supplied = import(&target, "distributions", &file, &format!("{SUPPLY} --on-error skip"))
        .await
        .unwrap();
    assert_eq!((supplied.rows_written, supplied.rows_skipped), (84, 9));
}
