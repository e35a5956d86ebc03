//! Rows whose numbers, cells or constants are nearly right, and the file of rejected rows.

use std::fs;

use super::{REQUESTS, refused, told};
use crate::{
    domain::event::EntityKind,
    tools::import::{
        recorder::Recorder,
        tests::{import, writable},
    },
};

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
        assert_eq!(target.units(EntityKind::Request)[1].1, Some(units), "{sign}");
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
    assert!(target.units(EntityKind::Request).iter().all(|(_, units)| *units == Some(12)));
}

#[tokio::test]
async fn the_rejects_file_of_a_run_is_kept_by_the_next_run() {
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
    // One of its two rows is corrected. The other goes into a file with the next name, which has
    // the columns of the first file and new reasons.
    fs::write(&rejects, first.replace(",x,", ",2,")).unwrap();
    let report = import(&target, "requests", &rejects, &skip).await.unwrap();
    assert_eq!(report.rejects.as_deref(), Some(&*folder.path().join("bank.csv.rejects-3.csv")));
    let third = fs::read_to_string(report.rejects.unwrap()).unwrap();
    assert_eq!(
        third,
        "at,to,n,reject_line,reject_reason\n2020-01-03,Tema,y,3,\"line 3, column \"\"n\"\": \
         \"\"y\"\" is not a whole number of units such as 12\"\n"
    );
    // A run without a rejected row writes no such file, and deletes none.
    fs::write(&file, "at,to,n\n2020-01-01,Tema,1\n").unwrap();
    assert_eq!(import(&target, "requests", &file, &skip).await.unwrap().rejects, None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    // If every row is refused, the error names the file with the rows.
    fs::write(&file, "at,to,n\nx,Tema,1\n").unwrap();
    let error = import(&target, "requests", &file, &skip).await.unwrap_err().to_string();
    assert!(
        error.contains("bank.csv.rejects-4.csv")
            && folder.path().join("bank.csv.rejects-4.csv").exists(),
        "{error}"
    );
}

#[tokio::test]
async fn a_row_without_its_empty_last_cells_is_accepted_and_reported() {
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
    let units: Vec<_> =
        target.units(EntityKind::Request).into_iter().map(|(_, units)| units).collect();
    assert_eq!(units, [Some(3), None, Some(4), Some(5)]);
    for (row, wants) in [
        ("Tema", "the row has 1 cells, the header 4; the column \"at\" is needed and missing here"),
        (
            "Tema,2020-01-01,3,x,y",
            "the row has 5 cells, the header 4; a value that contains a comma",
        ),
        ("Tema;2020-01-01;3;x", "the row is separated by semicolons, and commas are expected"),
    ] {
        let error =
            refused("requests", &format!("to,at,n,note\n{row}\n"), REQUESTS).await.to_string();
        assert!(error.contains("line 2: ") && error.contains(wants), "{row}: {error}");
    }
    // A delivery must have a quantity.
    let error = refused(
        "distributions",
        "to,at,n\nTema,2020-01-01\n",
        "--columns date_delivered=at,facility=to,quantity=n",
    )
    .await
    .to_string();
    assert!(error.contains("the column \"n\" is needed"), "{error}");
}

/// Constants that no row can use: the kind of the file, the constant, and what the error says.
const WRONG_CONSTANTS: &[(&str, &str, &str)] = &[
    ("requests", "quantity=abc", "--set quantity=abc: the value is not a whole number"),
    ("requests", "quantity=-1", "--set quantity=-1: the value is too small"),
    ("requests", "quantity=1.000", "--decimal ,"),
    ("distributions", "quantity=0", "--set quantity=0: the value is too small; 1 or more"),
    ("stock-history", "quantity=x", "--set quantity=x: the value"),
    ("requests", "blood_type=Z", "--set blood_type=Z: the value is not a blood type"),
    ("requests", "created_at=05/01/2024", "--set created_at=05/01/2024: the value is not a date"),
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
];

/// The columns of a file `at,to,n` that feed the fields of the kind, without the constant's field.
fn columns_beside(kind: &str, constant: &str) -> String {
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
    if columns.is_empty() { "timezone=at".to_owned() } else { columns.join(",") }
}

#[tokio::test]
async fn a_constant_that_no_row_can_use_is_wrong_use_before_any_row_is_read() {
    // The row is faulty too, but the error is about the constant.
    for (kind, constant, wants) in WRONG_CONSTANTS {
        let columns = columns_beside(kind, constant);
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
