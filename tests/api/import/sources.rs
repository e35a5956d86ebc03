//! Which rows are the same: a row is known by its content, the column of its quantity, and its
//! source.

use uuid::Uuid;

use super::{SKIP, audited, both_stores, imported, write};
use crate::support::{
    plain_sql::{execute, is_postgres, number},
    service::Launch,
};

const DELIVERIES: &[&str] =
    &["--columns=date_delivered=date,blood_type=type,quantity=units", "--set=facility=Tema"];

async fn deliveries(launch: &Launch) -> (i64, i64) {
    let url = launch.database_url();
    let units = number(url, "SELECT coalesce(sum(quantity), 0) FROM blood_distributions").await;
    (number(url, "SELECT count(*) FROM blood_distributions").await, units)
}

#[tokio::test]
async fn a_file_that_a_spreadsheet_saved_again_holds_the_same_deliveries() {
    for launch in both_stores().await {
        let rows = |of: fn(u32) -> String| -> String { (1..=12).map(of).collect() };
        write(
            &launch,
            "supply.csv",
            &format!("date,type,units\n{}", rows(|n| format!("2024-01-{n:02},O+,{n}\n"))),
        );
        imported(&launch, "distributions", "supply.csv", &[DELIVERIES]).await;
        assert_eq!(deliveries(&launch).await, (12, 78));
        write(
            &launch,
            "supply.csv",
            &format!("units,date,type\n{}", rows(|n| format!("{n}.0,{n:02}/01/2024,O Rh+\n"))),
        );
        let output = imported(
            &launch,
            "distributions",
            "supply.csv",
            &[DELIVERIES, &["--date-format=%d/%m/%Y"]],
        )
        .await;
        assert!(output.contains("All of it was known already: nothing changed"), "{output}");
        assert_eq!(deliveries(&launch).await, (12, 78));
    }
}

#[tokio::test]
async fn equal_rows_of_two_sources_are_two_rows_and_are_reported() {
    for launch in both_stores().await {
        write(&launch, "ward1.csv", "date,type,units\n2024-01-05,O+,2\n");
        write(&launch, "ward2.csv", "date,type,units\n2024-01-05,O+,2\n2024-01-05,A+,1\n");
        let first = imported(&launch, "distributions", "ward1.csv", &[DELIVERIES]).await;
        assert!(
            first.contains("Import 1, of the source ward1") && !first.contains("equal rows of"),
            "{first}"
        );
        let dry =
            imported(&launch, "distributions", "ward2.csv", &[DELIVERIES, &["--dry-run"]]).await;
        let said = "1 row has the same content as rows of the source ward1: taken as other \
                    distributions; if they are the same, import with --source ward1";
        assert!(dry.contains(said), "{dry}");
        let second = imported(&launch, "distributions", "ward2.csv", &[DELIVERIES]).await;
        let said = "1 row has the same content as rows of the source ward1: taken as other \
                    distributions; if they are the same, import undo 2, and import with --source \
                    ward1";
        assert!(second.contains(said), "{second}");
        assert_eq!(deliveries(&launch).await, (3, 5));
        let undone = launch.run(&["import", "undo", "2"]).await;
        assert_eq!(undone.code, Some(0), "{}", undone.output);
        let same =
            imported(&launch, "distributions", "ward2.csv", &[DELIVERIES, &["--source=ward1"]])
                .await;
        assert!(!same.contains("equal rows of"), "{same}");
        assert_eq!(deliveries(&launch).await, (2, 3), "now both files are of the same source");
        audited(&launch).await;
    }
}

#[tokio::test]
async fn the_report_counts_the_equal_rows_exactly() {
    for launch in both_stores().await {
        let two = "2024-01-05,O+,2\n2024-01-05,O+,2\n";
        write(&launch, "ward1.csv", &format!("date,type,units\n{two}"));
        write(
            &launch,
            "ward2.csv",
            &format!("date,type,units\n{two}2024-01-05,O+,2\n2024-01-06,O+,2\n"),
        );
        imported(&launch, "distributions", "ward1.csv", &[DELIVERIES]).await;
        let output = imported(&launch, "distributions", "ward2.csv", &[DELIVERIES]).await;
        assert!(
            output.contains("\n2 rows have the same content as rows of the source ward1"),
            "{output}"
        );
        assert_eq!(deliveries(&launch).await, (6, 12));
        // All of these rows are known, so no row counts as equal to a row of another source.
        let again = imported(&launch, "distributions", "ward2.csv", &[DELIVERIES]).await;
        assert!(!again.contains("equal rows of") && again.contains("nothing changed"), "{again}");
    }
}

#[tokio::test]
async fn the_same_file_under_another_source_is_reported() {
    for launch in both_stores().await {
        write(&launch, "ward1.csv", "date,type,units\n2024-01-05,O+,2\n");
        imported(&launch, "distributions", "ward1.csv", &[DELIVERIES]).await;
        let output = imported(
            &launch,
            "distributions",
            "ward1.csv",
            &[DELIVERIES, &["--source=ward9", "--dry-run"]],
        )
        .await;
        assert!(
            output.contains("This very file was imported as the source ward1 (import 1)"),
            "{output}"
        );
    }
}

#[tokio::test]
async fn four_imports_of_a_wide_file_by_column_lose_nothing() {
    for launch in both_stores().await {
        // Most days have the same figure in several columns.
        let rows: String = (1..=28)
            .map(|day| {
                format!("2024-02-{day:02},{},{},{},{}\n", 1 + day % 3, 1 + day % 2, 1 + day % 3, 2)
            })
            .collect();
        write(&launch, "wide.csv", &format!("date,O,A,B,AB\n{rows}"));
        let mut wanted = 0;
        for (column, units) in [
            ("O", (1..=28).map(|d| 1 + d % 3).sum::<i64>()),
            ("A", 42),
            ("B", (1..=28).map(|d| 1 + d % 3).sum()),
            ("AB", 56),
        ] {
            let columns = format!("--columns=date_delivered=date,quantity={column}");
            imported(&launch, "distributions", "wide.csv", &[&[&columns, "--set=facility=Tema"]])
                .await;
            wanted += units;
        }
        assert_eq!(deliveries(&launch).await, (4 * 28, wanted));
        let again = imported(
            &launch,
            "distributions",
            "wide.csv",
            &[&["--columns=quantity=A,date_delivered=date", "--set=facility=Tema"]],
        )
        .await;
        assert!(again.contains("nothing changed"), "{again}");
    }
}

#[tokio::test]
async fn corrected_rows_keep_their_source_and_are_imported_exactly_once() {
    for launch in both_stores().await {
        // Line 3 is refused. After it is corrected, it equals the two other lines.
        write(
            &launch,
            "ward1.csv",
            "date,type,units\n2024-01-05,O+,2\n2024-01-05,O+,two\n2024-01-05,O+,2\n2024-01-06,O+,\
             four\n",
        );
        let output = imported(&launch, "distributions", "ward1.csv", &[DELIVERIES, SKIP]).await;
        assert!(output.contains("2 skipped"), "{output}");
        assert_eq!(deliveries(&launch).await, (2, 4));
        let rejects = launch.folder().join("ward1.csv.rejects.csv");
        let refused = std::fs::read_to_string(&rejects).expect("rows were refused");
        // First only one row is corrected, then the other one too.
        for (right, wanted) in [
            (refused.replace(",two,", ",2,"), (3, 6)),
            (refused.replace(",two,", ",2,").replace(",four,", ",4,"), (4, 10)),
        ] {
            for _ in 0..2 {
                std::fs::write(&rejects, &right).expect("the folder can be written");
                let output = imported(
                    &launch,
                    "distributions",
                    "ward1.csv.rejects.csv",
                    &[DELIVERIES, SKIP],
                )
                .await;
                assert!(output.contains("of the source ward1;"), "{output}");
                assert_eq!(deliveries(&launch).await, wanted);
            }
        }
        // The whole file, corrected, gives the same rows.
        write(
            &launch,
            "ward1.csv",
            "date,type,units\n2024-01-05,O+,2\n2024-01-05,O+,2\n2024-01-05,O+,2\n2024-01-06,O+,4\n",
        );
        imported(&launch, "distributions", "ward1.csv", &[DELIVERIES]).await;
        assert_eq!(deliveries(&launch).await, (4, 10));
        audited(&launch).await;
    }
}

const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2a0d_5b7e_5e0f_9a43_c1d8_72e6_b954);

/// Writes a request as a release without sources did: its id is made from the cells as they are
/// written.
async fn brought_by_an_older_release(
    url: &str,
    facility: Uuid,
    date: &str,
    units: &str,
    occurrence: u32,
) {
    let content =
        format!("requests\u{1f}{facility}\u{1f}\u{1f}{date}\u{1f}\u{1f}{units}\u{1f}{occurrence}");
    let id = Uuid::new_v5(&NAMESPACE, content.as_bytes());
    let at: jiff::Timestamp = format!("{date}T00:00:00Z").parse().expect("a date");
    let insert = if is_postgres(url) {
        format!(
            "INSERT INTO blood_requests (id, facility_id, quantity, created_at, event_time) \
             VALUES ('{id}', '{facility}', {units}, '{at}', '{at}')"
        )
    } else {
        let (id, facility, at) = (id.simple(), facility.simple(), at.as_millisecond());
        format!(
            "INSERT INTO blood_requests (id, facility_id, quantity, created_at, event_time) \
             VALUES (x'{id}', x'{facility}', {units}, {at}, {at})"
        )
    };
    execute(url, &insert).await;
}

#[tokio::test]
async fn rows_of_a_release_without_sources_are_known_until_a_source_names_them() {
    let options: &[&str] = &["--columns=created_at=date,quantity=units", "--set=facility=Tema"];
    for launch in both_stores().await {
        let url = launch.database_url();
        write(&launch, "banks.csv", "name\nTema\n");
        imported(&launch, "facilities", "banks.csv", &[&["--columns=name=name"]]).await;
        let tema = Uuid::new_v5(&NAMESPACE, "facility\u{1f}Tema".as_bytes());
        for (date, occurrence) in [("2024-01-05", 0), ("2024-01-05", 1), ("2024-01-06", 0)] {
            brought_by_an_older_release(url, tema, date, "2", occurrence).await;
        }
        write(
            &launch,
            "ward1.csv",
            "date,units\n2024-01-05,2\n2024-01-05,2\n2024-01-06,2\n2024-01-07,2\n",
        );
        for dry in [&["--dry-run"][..], &[]] {
            let output = imported(&launch, "requests", "ward1.csv", &[options, dry]).await;
            assert!(
                output
                    .contains("3 rows are in from a release that kept no sources: taken as known"),
                "{output}"
            );
        }
        assert_eq!(number(url, "SELECT count(*) FROM blood_requests").await, 4);
        // From now on the rows are of the source ward1.
        write(&launch, "ward2.csv", "date,units\n2024-01-05,2\n");
        let output = imported(&launch, "requests", "ward2.csv", &[options]).await;
        assert!(
            !output.contains("kept no sources")
                && output.contains("1 row has the same content as rows of the source ward1"),
            "{output}"
        );
        assert_eq!(number(url, "SELECT count(*) FROM blood_requests").await, 5);
        let undone = launch.run(&["import", "undo", "2"]).await;
        assert!(
            undone.output.contains("3 rows were there before the import: left"),
            "{}",
            undone.output
        );
        assert_eq!(number(url, "SELECT count(*) FROM blood_requests").await, 4);
    }
}

#[tokio::test]
async fn imports_are_listed_with_their_commands() {
    for launch in both_stores().await {
        assert!(launch.run(&["imports"]).await.output.contains("Nothing was imported yet."));
        write(&launch, "ward 1.csv", "date,type,units\n2024-01-05,O+,2\n2024-01-05,O+,two\n");
        imported(&launch, "distributions", "ward 1.csv", &[DELIVERIES, SKIP]).await;
        launch.run(&["import", "undo", "1"]).await;
        let listed = launch.run(&["imports"]).await;
        assert_eq!(listed.code, Some(0));
        for wants in [
            "1: distributions from ward 1.csv, source ward 1, quantity from units; sha256 ",
            "; 1 rows in, 1 skipped; begun ",
            ", undone ",
            "import distributions 'ward 1.csv' \
             --columns=date_delivered=date,blood_type=type,quantity=units",
        ] {
            assert!(listed.output.contains(wants), "{wants}: {}", listed.output);
        }
    }
}
