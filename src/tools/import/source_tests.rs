//! Tests of `source.rs`.

use super::*;
use crate::tools::import::tests::args;

#[test]
fn a_file_is_of_the_source_that_its_name_says_and_refused_rows_are_of_their_parents() {
    let of =
        |file: &str| source(&args("requests", Path::new(file), "--columns created_at=at")).unwrap();
    for (file, wants) in [
        ("/data/ward1.csv", "ward1"),
        ("ward1.2024.csv", "ward1.2024"),
        ("ward1", "ward1"),
        (".csv", ".csv"),
        ("ward1.csv.rejects.csv", "ward1"),
        ("ward1.csv.rejects-2.csv", "ward1"),
        ("ward1.csv.rejects.csv.rejects.csv", "ward1"),
        ("Oddział 1.csv", "Oddział 1"),
    ] {
        assert_eq!(of(file), wants, "{file}");
    }
    let given = |source_given: &str| {
        let mut args = args("requests", Path::new("a.csv"), "--columns created_at=at");
        args.source = Some(source_given.to_owned());
        source(&args)
    };
    assert_eq!(given(" ward\u{a0}1 ").unwrap(), "ward 1");
    assert!(given(" ").is_err_and(|error| error.exit_code() == 2));
}

#[test]
fn refused_rows_are_of_the_import_that_refused_them() {
    let import = |id, file: &str, rejects: Option<&str>, column: &str| Import {
        id,
        what: NewImport {
            kind: "requests".into(),
            source: "ward1".into(),
            file: file.into(),
            sha256: None,
            quantity_column: column.into(),
            fingerprint: id.to_string(),
            command: String::new(),
        },
        started_ms: 0,
        finished_ms: None,
        rows_in: 0,
        rows_skipped: 0,
        rejects: rejects.map(Into::into),
        undo_began_ms: None,
        undone_ms: None,
    };
    let imports = [
        import(1, "/a/ward1.csv", Some("ward1.csv.rejects.csv"), "n"),
        import(2, "/b/ward1.csv.rejects.csv", Some("ward1.csv.rejects.csv.rejects.csv"), "n"),
        import(3, "ward1.csv", Some("ward1.csv.rejects.csv"), "other"),
        import(4, "later.csv", None, "n"),
    ];
    let parents_of = |file: &str| {
        parents(&import(9, file, None, "n").what, &imports).into_iter().collect::<Vec<_>>()
    };
    assert!(parents_of("ward1.csv").is_empty());
    assert_eq!(parents_of("ward1.csv.rejects.csv"), [1]);
    assert_eq!(parents_of("ward1.csv.rejects.csv.rejects.csv"), [1, 2]);
    assert_eq!(parents_of("ward1.csv.rejects-7.csv"), [1, 4], "nobody is known to have written it");
}

#[test]
fn a_command_line_is_told_as_it_would_be_typed() {
    let words =
        ["import", "requests", "my file.csv", "--date-format=%Y %B", "it's", ""].map(str::to_owned);
    assert_eq!(
        command_line(words.into_iter()),
        r"import requests 'my file.csv' '--date-format=%Y %B' 'it'\''s' ''"
    );
}
