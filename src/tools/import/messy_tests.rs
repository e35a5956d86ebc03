//! Files as people save them: names, ids, numbers and rows that are nearly right, and files that
//! are something else.

use std::{collections::BTreeSet, fs};

use uuid::Uuid;

use super::{
    identity::facility_id,
    recorder::Recorder,
    tests::{STOCK, import, real, writable},
    *,
};
use crate::domain::event::{Entity, Kind, Record, Statement};

const REQUESTS: &str = "--columns created_at=at,facility=to,quantity=n";

/// What the import of a small file says, a fault included.
async fn told(
    target: &Recorder,
    kind: &str,
    content: &str,
    options: &str,
) -> Result<String, ImportError> {
    let (_folder, file) = writable("file.csv", Some(content));
    import(target, kind, &file, options).await.map(|report| report.to_string())
}

async fn refused(kind: &str, content: &str, options: &str) -> ImportError {
    told(&Recorder::default(), kind, content, options).await.unwrap_err()
}

fn names(target: &Recorder) -> BTreeSet<String> {
    target.facility_rows().into_iter().map(|row| row.name).collect()
}

/// Registers a facility, as a release or somebody else has done it before.
async fn registered(target: &Recorder, id: Uuid, name: &str) {
    let entity = Entity::Facility { name: name.to_owned(), timezone: "UTC".to_owned() };
    let record = Record { event_time_ms: 0, entity: Some(entity) };
    target
        .apply(
            Part { import: 1, dry_run: false },
            vec![Statement { kind: Kind::Facility, id, record }],
            Vec::new(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn rows_that_become_one_facility_are_counted_and_named() {
    let target = Recorder::default();
    let said = told(
        &target,
        "facilities",
        "name,town\nTema,a\nAccra,b\nTema,c\nKumasi,d\nTema,e\nAccra,f\n",
        "--columns name=name",
    )
    .await;
    let said = said.unwrap();
    assert!(
        said.contains(
            "\n6 rows, 3 facilities: 3 rows name a facility that an earlier row names, and are \
             one with it, such as \"Tema\" (lines 2, 4, 6), \"Accra\" (lines 3, 7)"
        ),
        "{said}"
    );
    // One facility has many requests.
    let said =
        told(&target, "requests", "at,to,n\n2020-01-01,Tema,1\n2020-01-01,Tema,1\n", REQUESTS)
            .await
            .unwrap();
    assert!(!said.contains("earlier row"), "{said}");
    let many: String = (0..40).map(|n| format!("Ward {}\n", n % 10)).collect();
    let said =
        told(&target, "facilities", &format!("name\n{many}"), "--columns name=name").await.unwrap();
    assert!(
        said.contains("40 rows, 10 facilities: 30 rows name") && said.matches("Ward").count() == 5,
        "{said}"
    );
}

#[tokio::test]
async fn spellings_that_look_alike_are_one_facility_as_first_given_and_that_is_said_in_every_kind()
{
    let spellings =
        ["H\u{f4}pital", "Ho\u{302}pital", "H\u{f4}pi\u{ad}tal", "\u{200e}H\u{f4}pital "];
    for (kind, header, row, options) in [
        ("facilities", "to", "", "--columns name=to"),
        ("requests", "to,at,n", ",2020-01-01,1", REQUESTS),
        (
            "distributions",
            "to,at,n",
            ",2020-01-01,1",
            "--columns date_delivered=at,facility=to,quantity=n",
        ),
        (
            "stock-history",
            "to,n",
            ",1",
            "--columns facility=to,quantity=n --set date=2020-01-01 --same-day sum",
        ),
    ] {
        let target = Recorder::default();
        let rows: String = spellings.iter().map(|name| format!("{name}{row}\n")).collect();
        let said = told(&target, kind, &format!("{header}\n{rows}"), options).await.unwrap();
        assert!(
            said.contains(
                "\n1 facility has several spellings that look alike and count as one name: \
                 \"H\u{f4}pital\" (line 2), \"Ho<U+0302>pital\" (line 3), \
                 \"H\u{f4}pi<U+00AD>tal\" (line 4)"
            ),
            "{kind}: {said}"
        );
        let facilities = target.facility_rows();
        assert_eq!(facilities.len(), 1, "{kind}");
        assert_eq!(
            (facilities[0].name.as_str(), facilities[0].id),
            ("H\u{f4}pital", facility_id("H\u{f4}pital")),
            "{kind}"
        );
        // The other way round, the decomposed name is what is shown, of the same facility.
        let target = Recorder::default();
        told(&target, kind, &format!("{header}\nHo\u{302}pital{row}\n"), options).await.unwrap();
        assert_eq!(
            (names(&target), target.facility_rows()[0].id),
            (BTreeSet::from(["Ho\u{302}pital".to_owned()]), facility_id("H\u{f4}pital"))
        );
    }
}

#[tokio::test]
async fn a_facility_that_was_registered_under_another_spelling_is_met_again() {
    for (registered_as, id) in [
        // by a release that told the two spellings apart
        ("Ho\u{302}pital", facility_id("Ho\u{302}pital")),
        ("Ho\u{302}pital", Uuid::from_u128(7)), // by somebody over HTTP
        // by that release, and renamed since
        ("General", facility_id("Ho\u{302}pital")),
    ] {
        let target = Recorder::default();
        registered(&target, id, registered_as).await;
        let said = told(&target, "requests", "at,to,n\n2020-01-01,Ho\u{302}pital,1\n", REQUESTS)
            .await
            .unwrap();
        assert!(said.contains("; 0 facilities registered"), "{said}");
        if registered_as != "General" {
            let said = told(&target, "facilities", "name\nH\u{f4}pital\n", "--columns name=name")
                .await
                .unwrap();
            assert!(
                said.contains("\"Ho<U+0302>pital\" (registered), \"H\u{f4}pital\" (line 2)"),
                "{said}"
            );
        }
        assert_eq!(target.facility_rows().len(), 1, "{registered_as}");
        assert_eq!(names(&target), BTreeSet::from([registered_as.to_owned()]));
    }
}

#[tokio::test]
async fn a_cell_that_was_to_be_an_id_registers_nothing() {
    for (cell, wants) in [
        (
            "c3d4e5f6-g7h8-4901-cdef-345678901234",
            "looks like a UUID and is none: its character 10 is \"g\"",
        ),
        ("c3d4e5f6-a7b8-4901-cdef-34567890123", "it has 31 digits, 1 too few"),
        ("00000000-0000-0000-0000-000000000000", "is the nil UUID, which names nothing"),
        ("{00000000-0000-0000-0000-000000000000}", "is the nil UUID"),
        ("00000000-0000-0000-0000-00000000000", "1 too few"),
        ("c3d4e5f6-a7b8-4901-cdef-345678901234", "is the id of no registered facility"),
    ] {
        let target = Recorder::default();
        for (kind, options) in [
            ("requests", REQUESTS),
            ("distributions", "--columns date_delivered=at,facility=to,quantity=n"),
            ("stock-history", "--columns date=at,facility=to,quantity=n"),
        ] {
            let error = told(&target, kind, &format!("at,to,n\n2020-01-01,{cell},1\n"), options)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("line 2, column \"to\": ") && error.contains(wants),
                "{kind} {cell}: {error}"
            );
        }
        let error = told(&target, "facilities", &format!("to\n{cell}\n"), "--columns name=to")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column \"to\": ")
                && error.contains("looks like an id, and a name is needed"),
            "{error}"
        );
        assert_eq!(names(&target), BTreeSet::new());
    }
    let error = refused(
        "facilities",
        "id,name\n3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4,Tema\n",
        "--columns id=id,name=name",
    )
    .await
    .to_string();
    assert!(error.contains("line 2, column \"id\"") && error.contains("1 too few"), "{error}");
}

#[tokio::test]
async fn no_facility_is_registered_under_what_is_no_name() {
    for (cell, wants) in [
        ("n/a", "stands for a missing value"),
        ("-", "stands for a missing value"),
        ("Grand Total:", "reads like the line of a total"),
        ("=A5", "is a formula"),
        ("HÃ´pital", "was turned into UTF-8 twice, and \"Hôpital\" is meant"),
        ("to", "is the name of the column itself, so the header stands here again"),
    ] {
        for (kind, options) in [("requests", REQUESTS), ("facilities", "--columns name=to")] {
            let error = refused(kind, &format!("at,to,n\n2020-01-01,{cell},1\n"), options)
                .await
                .to_string();
            assert!(
                error.contains("line 2, column \"to\": ") && error.contains(wants),
                "{kind} {cell}: {error}"
            );
        }
    }
    // An id of its own makes it no better.
    for (cell, wants) in [
        ("\u{19}Tema", "holds control characters"),
        ("n/a", "stands for a missing value"),
        ("c3d4e5f6-a7b8-4901-cdef-34567890123", "looks like an id"),
    ] {
        let content = format!("id,to\n3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b,{cell}\n");
        let error = refused("facilities", &content, "--columns id=id,name=to").await.to_string();
        assert!(
            error.contains("line 2, column \"to\": ") && error.contains(wants),
            "{cell}: {error}"
        );
    }
    // A place that satisfied_by such a name all the same is met under it.
    let target = Recorder::default();
    registered(&target, Uuid::from_u128(7), "Total").await;
    told(&target, "requests", "at,to,n\n2020-01-01,Total,1\n", REQUESTS).await.unwrap();
}

#[tokio::test]
async fn an_ambiguous_number_is_a_fault_that_names_the_option_and_the_option_decides() {
    let rows = "at,to,n\n2020-01-01,Tema,850\n2020-01-02,Tema,1.000\n";
    let error = refused("requests", rows, REQUESTS).await.to_string();
    assert!(
        error.contains(
            "line 3, column \"n\": \"1.000\" is 1000 or 1, and the file does not say which; \
             --decimal , makes"
        ),
        "{error}"
    );
    for (sign, units) in [(",", 1000), (".", 1)] {
        let target = Recorder::default();
        told(&target, "requests", rows, &format!("{REQUESTS} --decimal {sign}")).await.unwrap();
        assert_eq!(target.units(Kind::Request)[1].1, Some(units), "{sign}");
    }
    let target = Recorder::default();
    told(
        &target,
        "requests",
        "at,to,n\n2020-01-01,Tema,12.0\n2020-01-02,Tema,\"12,0\"\n2020-01-03,Tema,12.00\n",
        REQUESTS,
    )
    .await
    .unwrap();
    assert!(target.units(Kind::Request).iter().all(|(_, units)| *units == Some(12)));
}

#[tokio::test]
async fn what_a_run_rejects_is_kept_by_the_next() {
    let (folder, file) = writable(
        "bank.csv",
        Some("at,to,n\n2020-01-01,Tema,1\n2020-01-02,Tema,x\n2020-01-03,Tema,y\n"),
    );
    let target = Recorder::default();
    let skip = format!("{REQUESTS} --on-error skip");
    for name in ["bank.csv.rejects.csv", "bank.csv.rejects-2.csv"] {
        let report = import(&target, "requests", &file, &skip).await.unwrap();
        assert_eq!(report.rejects.as_deref(), Some(&*folder.path().join(name)));
        assert!(report.to_string().contains(name));
    }
    let rejects = folder.path().join("bank.csv.rejects.csv");
    let first = fs::read_to_string(&rejects).unwrap();
    assert_eq!(first, fs::read_to_string(folder.path().join("bank.csv.rejects-2.csv")).unwrap());
    // Half of it is put right: what is left has the next name, the columns of the first file, and
    // new reasons.
    fs::write(&rejects, first.replace(",x,", ",2,")).unwrap();
    let report = import(&target, "requests", &rejects, &skip).await.unwrap();
    assert_eq!(report.rejects.as_deref(), Some(&*folder.path().join("bank.csv.rejects-3.csv")));
    let third = fs::read_to_string(report.rejects.unwrap()).unwrap();
    assert_eq!(
        third,
        "at,to,n,reject_line,reject_reason\n2020-01-03,Tema,y,3,\"line 3, column \"\"n\"\": \
         \"\"y\"\" is not a whole number of units such as 12\"\n"
    );
    // A run without a reject leaves none, and takes none away.
    fs::write(&file, "at,to,n\n2020-01-01,Tema,1\n").unwrap();
    assert_eq!(import(&target, "requests", &file, &skip).await.unwrap().rejects, None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    // Where every row is refused, the error says where they are.
    fs::write(&file, "at,to,n\nx,Tema,1\n").unwrap();
    let error = import(&target, "requests", &file, &skip).await.unwrap_err().to_string();
    assert!(
        error.contains("bank.csv.rejects-4.csv")
            && folder.path().join("bank.csv.rejects-4.csv").exists(),
        "{error}"
    );
}

#[tokio::test]
async fn a_row_without_its_empty_last_cells_is_taken_and_said() {
    let target = Recorder::default();
    let said = told(
        &target,
        "requests",
        "to,at,n,note\nTema,2020-01-01,3\nTema,2020-01-02\nTema,2020-01-03,4,,,\nTema,2020-01-04,\
         5,x\n",
        REQUESTS,
    )
    .await;
    let said = said.unwrap();
    assert!(
        said.contains(
            "\n2 rows have fewer cells than the header, and what is missing counts as empty (line \
             2, 3)"
        ),
        "{said}"
    );
    let units: Vec<_> = target.units(Kind::Request).into_iter().map(|(_, units)| units).collect();
    assert_eq!(units, [Some(3), None, Some(4), Some(5)]);
    for (row, wants) in [
        ("Tema", "the row has 1 cells, the header 4; the column \"at\" is needed and missing here"),
        (
            "Tema,2020-01-01,3,x,y",
            "the row has 5 cells, the header 4; a value that contains a comma",
        ),
        ("Tema;2020-01-01;3;x", "the row is parted by semicolons, and commas are expected"),
    ] {
        let error =
            refused("requests", &format!("to,at,n,note\n{row}\n"), REQUESTS).await.to_string();
        assert!(error.contains("line 2: ") && error.contains(wants), "{row}: {error}");
    }
    // A delivery has to have its quantity.
    let error = refused(
        "distributions",
        "to,at,n\nTema,2020-01-01\n",
        "--columns date_delivered=at,facility=to,quantity=n",
    )
    .await
    .to_string();
    assert!(error.contains("the column \"n\" is needed"), "{error}");
}

#[tokio::test]
async fn a_constant_that_no_row_can_use_is_wrong_use_before_any_row_is_read() {
    // The row is faulty too, and not what the error is about.
    for (kind, constant, wants) in [
        ("requests", "quantity=abc", "--set quantity=abc: the value is not a whole number"),
        ("requests", "quantity=-1", "--set quantity=-1: the value is too small"),
        ("requests", "quantity=1.000", "--decimal ,"),
        ("distributions", "quantity=0", "--set quantity=0: the value is too small; 1 or more"),
        ("stock-history", "quantity=x", "--set quantity=x: the value"),
        ("requests", "blood_type=Z", "--set blood_type=Z: the value is not a blood type"),
        (
            "requests",
            "created_at=05/01/2024",
            "--set created_at=05/01/2024: the value is not a date",
        ),
        (
            "requests",
            "created_at=2999-01-01",
            "--set created_at=2999-01-01: the value lies in the future",
        ),
        ("distributions", "date_delivered=x", "--set date_delivered=x: the value is not a date"),
        ("stock-history", "date=2999-01-01", "--set date=2999-01-01: the value lies in the future"),
        ("requests", "id=seven", "--set id=seven: the value is not a UUID"),
        (
            "requests",
            "facility=c3d4e5f6-a7b8-4901-cdef-34567890123",
            "the value looks like a UUID and is none",
        ),
        (
            "requests",
            "facility=c3d4e5f6-a7b8-4901-cdef-345678901234",
            "the value is the id of no registered facility",
        ),
        ("requests", "facility=n/a", "--set facility=n/a: the value stands for a missing value"),
        (
            "requests",
            "timezone=Mars/Olympus",
            "--set timezone=Mars/Olympus: there is no such time zone",
        ),
        (
            "facilities",
            "name=c3d4e5f6-a7b8-4901-cdef-345678901234",
            "--set name=c3d4e5f6-a7b8-4901-cdef-345678901234: the value looks like an id",
        ),
        ("facilities", "id=00000000-0000-0000-0000-000000000000", "the value is the nil UUID"),
    ] {
        let date = match kind {
            "distributions" => "date_delivered",
            "stock-history" => "date",
            _ => "created_at",
        };
        let fields = if kind == "facilities" {
            vec![("name", "to")]
        } else {
            vec![(date, "at"), ("facility", "to"), ("quantity", "n")]
        };
        let constant_field = constant.split('=').next().unwrap();
        let columns: Vec<_> = fields
            .iter()
            .filter(|(field, _)| *field != constant_field)
            .map(|(field, column)| format!("{field}={column}"))
            .collect();
        let columns = if columns.is_empty() { "timezone=at".to_owned() } else { columns.join(",") };
        let target = Recorder::default();
        let error = told(
            &target,
            kind,
            "at,to,n\nx,,y\n",
            &format!("--columns {columns} --set {constant}"),
        )
        .await
        .unwrap_err();
        assert_eq!(error.exit_code(), 2, "{constant}: {error}");
        let said = error.to_string();
        assert!(said.contains(wants) && !said.contains("line 2"), "{constant}: {said}");
        assert_eq!(target.facility_rows().len(), 0);
    }
    told(
        &Recorder::default(),
        "requests",
        "at\n2020-01-01\n",
        "--columns created_at=at --set facility=Tema --set quantity=12.0",
    )
    .await
    .unwrap();
}

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
        (b"name;town\nTema;Accra\n", "file.csv is parted by semicolons, and commas are expected"),
        (b"name\tn\nTema\t1\n", "file.csv is parted by tabs"),
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
    // A single column whose name holds a semicolon may be named.
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
async fn the_real_files_merge_what_they_repeat_and_say_so() {
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
