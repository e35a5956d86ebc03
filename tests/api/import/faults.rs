//! Faulty rows, files and command lines: what the output names, the exit code, and what is written.

use std::fs;

use super::{MANY, SKIP, both_stores, fixture, import, imported, many_rows, write};
use crate::support::{Service, plain_sql::number};

#[tokio::test]
async fn a_fault_names_line_column_and_value_and_leaves_whole_chunks() {
    for launch in both_stores().await {
        write(&launch, "many.csv", &format!("{}2024-03-01,Centre 1,many\n", many_rows(1_500)));
        let exited = import(&launch, "requests", "many.csv", &[MANY]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        assert!(
            exited
                .output
                .contains("many.csv: line 1502, column \"n\": \"many\" is not a whole number"),
            "{}",
            exited.output
        );
        assert!(exited.output.contains("1000 rows before it are in"), "{}", exited.output);
        assert_eq!(
            number(launch.database_url(), "SELECT count(*) FROM blood_requests").await,
            1_000
        );

        let output = imported(&launch, "requests", "many.csv", &[MANY, SKIP]).await;
        assert!(
            output.contains("1 skipped") && output.contains("many.csv.rejects.csv"),
            "{output}"
        );
        let rejects = fs::read_to_string(launch.folder().join("many.csv.rejects.csv"))
            .expect("a rejects file");
        assert!(
            rejects
                .starts_with("at,to,n,reject_line,reject_reason\n2024-03-01,Centre 1,many,1502,"),
            "{rejects}"
        );
        assert_eq!(
            number(launch.database_url(), "SELECT count(*) FROM blood_requests").await,
            1_500
        );
    }
}

#[tokio::test]
async fn wrong_use_exits_with_2_and_a_failure_with_1() {
    let launch = Service::on_sqlite();
    fixture(&launch, "stock.csv");
    fixture(&launch, "unclosed_quote.csv");
    write(&launch, "semicolons.csv", "name;town\nTema;Accra\n");
    write(&launch, "book.xlsx", "PK\u{3}\u{4}\u{14}\0\u{6}\0[Content_Types].xml");
    for (words, code, says) in [
        (&["import", "stock-history", "stock.csv"][..], 2, "--columns"),
        (&["import", "stocks", "stock.csv", "--columns=name=city"], 2, "stock-history"),
        (
            &[
                "import",
                "stock-history",
                "stock.csv",
                "--columns=facility=town,date=date,quantity=qValue",
            ],
            2,
            "no column \"town\"",
        ),
        (
            &["import", "stock-history", "stock.csv", "--columns=facility=city,date=date"],
            2,
            "need the field quantity",
        ),
        (&["import", "facilities", "none.csv", "--columns=name=name"], 1, "none.csv"),
        (
            &["import", "facilities", "unclosed_quote.csv", "--columns=name=name"],
            1,
            "line 3: a double quote opens",
        ),
        (
            &["import", "facilities", "semicolons.csv", "--columns=name=name"],
            1,
            "semicolons.csv is separated by semicolons",
        ),
        (
            &["import", "facilities", "book.xlsx", "--columns=name=name"],
            1,
            "book.xlsx is an Excel workbook (xlsx)",
        ),
        (
            &[
                "import",
                "stock-history",
                "stock.csv",
                "--columns=facility=city,date=date,quantity=qValue",
                "--decimal=;",
            ],
            2,
            "--decimal",
        ),
    ] {
        let exited = launch.run(words).await;
        assert_eq!(exited.code, Some(code), "{words:?}: {}", exited.output);
        assert!(exited.output.contains(says), "{words:?}: {}", exited.output);
    }
}

#[tokio::test]
async fn a_mistyped_id_and_an_ambiguous_number_write_nothing() {
    let columns: &[&str] = &["--columns=facility=to,created_at=at,quantity=n"];
    for launch in both_stores().await {
        for (row, says) in [
            (
                "c3d4e5f6-a7b8-4901-cdef-34567890123,2024-03-01,1",
                "looks like a UUID and is none: it has 31 digits, 1 too few",
            ),
            ("00000000-0000-0000-0000-000000000000,2024-03-01,1", "is the nil UUID"),
            (
                "Tema,2024-03-01,1.000",
                "\"1.000\" is 1000 or 1, and the file does not say which; --decimal , ",
            ),
            ("Tema,05/01/2024,1", "--date-format \"%d/%m/%Y\" reads it as 2024-01-05"),
        ] {
            write(&launch, "requests.csv", &format!("to,at,n\n{row}\n"));
            let exited = import(&launch, "requests", "requests.csv", &[columns]).await;
            assert_eq!(exited.code, Some(1), "{}", exited.output);
            assert!(
                exited.output.contains("line 2, column ") && exited.output.contains(says),
                "{row}: {}",
                exited.output
            );
        }
        let url = launch.database_url();
        assert_eq!(
            number(
                url,
                "SELECT (SELECT count(*) FROM facilities) + (SELECT count(*) FROM blood_requests)"
            )
            .await,
            0
        );
        write(
            &launch,
            "requests.csv",
            "to,at,n\nTema,2024-03-01,1.000\nTema,2024-03-02,\"12,0\"\n",
        );
        imported(&launch, "requests", "requests.csv", &[columns, &["--decimal=,"]]).await;
        assert_eq!(number(url, "SELECT sum(quantity) FROM blood_requests").await, 1012);
    }
}

#[tokio::test]
async fn a_constant_that_cannot_be_right_is_wrong_use() {
    for launch in both_stores().await {
        write(&launch, "requests.csv", "to,at,n\nTema,x,y\n");
        for (constant, says) in [
            ("quantity=abc", "--set quantity=abc: the value is not a whole number"),
            (
                "facility=c3d4e5f6-a7b8-4901-cdef-345678901234",
                "the value is the id of no registered facility",
            ),
        ] {
            let field = constant.split('=').next().expect("a field");
            let columns: Vec<&str> = ["created_at=at", "facility=to"]
                .into_iter()
                .filter(|pair| !pair.starts_with(field))
                .collect();
            let options = [format!("--columns={}", columns.join(",")), format!("--set={constant}")];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let exited = import(&launch, "requests", "requests.csv", &[&options]).await;
            assert_eq!(exited.code, Some(2), "{}", exited.output);
            assert!(
                exited.output.contains(says) && !exited.output.contains("line 2"),
                "{}",
                exited.output
            );
        }
    }
}
