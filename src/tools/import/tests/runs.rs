//! How a run ends: at a fault, at a broken database, at a file that cannot be read, or with wrong
//! use.

use std::path::PathBuf;

use super::{STOCK, fixture, import, writable};
use crate::{domain::event::EntityKind, tools::import::recorder::Recorder};

/// A file of many rows. The last one is faulty.
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
    assert_eq!(target.units(EntityKind::Request).len(), 2_000);
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
    assert_eq!(target.units(EntityKind::Request).len(), 2_500);
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_a_fault() {
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
async fn files_that_are_not_csv_are_refused_as_such() {
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
