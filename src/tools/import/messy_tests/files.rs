//! Files that are not CSV in UTF-8, and the real files if they are present.

use std::{collections::BTreeSet, fs};

use super::{names, told};
use crate::tools::import::{
    recorder::Recorder,
    tests::{STOCK, import, real, writable},
};

#[tokio::test]
async fn a_file_that_is_something_else_is_called_by_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let korean =
        encoding_rs::EUC_KR.encode("name\n서울적십자병원\n부산대학교병원\n").0.into_owned();
    for (content, wants) in [
        (
            &b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml"[..],
            "file.csv is an Excel workbook (xlsx)",
        ),
        (b"[{\"name\": \"Tema\"}]", "file.csv is JSON"),
        (b"<html><table>", "file.csv is a page of HTML"),
        (
            b"name;town\nTema;Accra\n",
            "file.csv is separated by semicolons, and commas are expected",
        ),
        (b"name\tn\nTema\t1\n", "file.csv is separated by tabs"),
        (
            &korean,
            "file.csv is not UTF-8; it reads as CP949 (EUC-KR, Korean), for instance \
             \"서울적십자병원\"",
        ),
        (b"n,name\n1,H\xf4pital\n2,Orl\xe9ans\n", "it reads as Windows-1252"),
        (b"", "file.csv is empty; a header line"),
        (b"\n\n", "file.csv is empty; a header line"),
        (
            b"Banks of the north,\n,\nname,town\nTema,Accra\n",
            "no column \"name\". Its columns are \"Banks of the north\", \"\". Line 3 has it: \
             delete the lines above",
        ),
    ] {
        let file = folder.path().join("file.csv");
        fs::write(&file, content).unwrap();
        let error = import(&Recorder::default(), "facilities", &file, "--columns name=name")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(wants), "{wants}: {error}");
    }
    // A file may have a single column with a semicolon in its name.
    let (_folder, file) = writable("one.csv", Some("name;town\nTema;North\n"));
    let target = Recorder::default();
    import(&target, "facilities", &file, "--columns name=name;town").await.unwrap();
    assert_eq!(names(&target), BTreeSet::from(["Tema;North".to_owned()]));
    let said = told(&target, "facilities", "name\n", "--columns name=name").await.unwrap();
    assert!(said.contains("The file has a header and no rows"), "{said}");
}

#[tokio::test]
async fn a_row_in_another_encoding_names_line_and_column_and_how_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.csv");
    fs::write(&file, b"n,name\n1,Tema\n2,Orl\xe9ans\n3,Accra\n").unwrap();
    let error = import(&Recorder::default(), "facilities", &file, "--columns name=name")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "line 3, column \"name\": \"Orl\u{fffd}ans\" is not UTF-8; save the file in that \
             encoding (read as Windows-1252"
        ),
        "{error}"
    );
    assert!(error.contains("it would be \"Orléans\")"), "{error}");
}

#[tokio::test]
async fn rows_of_the_real_files_that_become_one_facility_are_reported() {
    let Some((_folder, file)) = real("blood_banks_india.csv") else { return };
    let report =
        import(&Recorder::default(), "facilities", &file, "--columns name=name").await.unwrap();
    assert_eq!(report.names_merged.repeated_rows, 34);
    assert!(
        report.to_string().contains(
            "2174 rows, 2140 facilities: 34 rows name a facility that an earlier row names"
        ),
        "{report}"
    );
    let Some((_folder, file)) = real("blood_stock_poland.csv") else { return };
    let report = import(&Recorder::default(), "stock-history", &file, STOCK).await.unwrap();
    assert_eq!(
        (
            report.names_merged.repeated_rows,
            report.names_merged.respelled(),
            report.short_rows.count
        ),
        (0, 0, 0)
    );
}
