//! Random files: after an import was undone, the tables are as they were before it.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{both_stores, imported, tables, write};
use crate::support::service::Launch;

/// A random file: its kind, the options of its import, and its rows.
#[derive(Debug, Clone)]
struct File {
    kind: &'static str,
    options: Vec<&'static str>,
    content: String,
}

fn cell<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = &'static str> {
    (0..N).prop_map(move |n| of[n])
}

/// Few different values, so that equal rows occur.
fn file() -> impl Strategy<Value = File> {
    let row = (cell(["Tema", "Accra", "Ho"]), 1..4u32, cell(["O+", "A-", ""]), 1..3u32);
    (0..4usize, prop::collection::vec(row, 1..8)).prop_map(|(kind, rows)| {
        let mut content = "to,date,type,units,zone\n".to_owned();
        // All facilities are in one zone, because a facility's zone decides which instants the
        // dates in another file are.
        for (to, day, blood_type, units) in rows {
            content += &format!("{to},2024-01-0{day},{blood_type},{units},UTC\n");
        }
        let (kind, options) = [
            ("facilities", vec!["--columns=name=to,timezone=zone"]),
            (
                "stock-history",
                vec![
                    "--columns=facility=to,date=date,blood_type=type,quantity=units",
                    "--same-day=sum",
                ],
            ),
            (
                "distributions",
                vec!["--columns=facility=to,date_delivered=date,blood_type=type,quantity=units"],
            ),
            (
                "requests",
                vec!["--columns=facility=to,created_at=date,blood_type=type,quantity=units"],
            ),
        ][kind]
            .clone();
        File { kind, options, content }
    })
}

async fn bring(launch: &Launch, name: &str, file: &File) {
    write(launch, name, &file.content);
    imported(launch, file.kind, name, &[&file.options, &["--source=tema"]]).await;
}

async fn undo(launch: &Launch, import: u32) {
    let exited = launch.run(&["import", "undo", &import.to_string()]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
}

/// The source tables and the figures, without the times of registrations: these differ from run to
/// run.
async fn world(url: &str) -> (tables::Tables, Vec<String>, Vec<String>) {
    let mut sources = tables::sources(url).await;
    sources.remove("facilities");
    let facilities = "SELECT concat_ws(' ', id(id), name, timezone) FROM facilities ORDER BY 1";
    (sources, crate::support::plain_sql::texts(url, facilities).await, tables::figures(url).await)
}

/// Each case starts several processes, so there are few cases; `PROPTEST_CASES` sets more.
#[tokio::test]
async fn an_undone_import_leaves_no_trace_with_any_files() {
    let cases =
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4);
    let mut runner = TestRunner::deterministic();
    for _ in 0..cases {
        let (a, b) = (file(), file()).new_tree(&mut runner).expect("a case").current();
        for (launch, alone) in both_stores().await.into_iter().zip(both_stores().await) {
            let (url, context) = (launch.database_url(), format!("{a:?}\n{b:?}"));
            launch.run(&["migrate"]).await;
            let empty = world(url).await;
            bring(&launch, "a.csv", &a).await;
            undo(&launch, 1).await;
            assert_eq!(world(url).await, empty, "after a was imported and undone: {context}");
            bring(&launch, "a.csv", &a).await;
            bring(&launch, "b.csv", &b).await;
            if a.content == b.content && a.kind == b.kind {
                continue; // one import, run twice
            }
            undo(&launch, 2).await;
            bring(&alone, "b.csv", &b).await;
            assert_eq!(
                world(url).await,
                world(alone.database_url()).await,
                "after a and b were imported and a was undone: {context}"
            );
            undo(&launch, 3).await;
            assert_eq!(world(url).await, empty, "after b was undone as well: {context}");
            let audit = launch.run(&["audit"]).await;
            assert_eq!(audit.code, Some(0), "{}\n{context}", audit.output);
        }
    }
}
