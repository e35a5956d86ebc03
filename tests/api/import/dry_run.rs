//! A dry run reports what the real run would report, and writes nothing.

use super::{DEMAND, SKIP, STOCK, SUPPLY, both_stores, fixture, import, imported, tables, write};
use crate::support::service::Launch;

/// The lines of a report that a dry run and a real run have in common. They differ only in "would
/// change", which is replaced by "changed".
fn told(output: &str) -> Vec<String> {
    let is_count = |line: &&str| {
        line.contains("known already")
            || line.contains("several rows")
            || line.contains("zone")
            || line.contains("kept no sources")
    };
    output
        .lines()
        .filter(|line| !line.starts_with('{'))
        .filter(is_count)
        .map(|line| line.replace("would change", "changed"))
        .collect()
}

async fn agrees(launch: &Launch, kind: &str, file: &str, options: &[&[&str]]) {
    let url = launch.database_url();
    let before = tables::all(url).await;
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(launch.folder())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.retain(|name| !name.to_string_lossy().contains(".db"));
        names.sort();
        names
    };
    let files_before = files();
    let dry = imported(launch, kind, file, &[options, &[&["--dry-run"]]].concat()).await;
    assert_eq!(tables::all(url).await, before, "{kind} {file}: {dry}");
    assert_eq!(files(), files_before, "{dry}");
    let real = imported(launch, kind, file, options).await;
    let count = |output: &str, of: &str| {
        // The log does not show it either. One is counted in other words than several.
        let output = output.replace("1 row read", "1 rows read");
        let output = output.replace("1 facility", "1 facilities");
        let output =
            output.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("\n");
        let words: Vec<&str> =
            output.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let at = words
            .windows(of.split(' ').count())
            .position(|some| some.join(" ") == of)
            .unwrap_or_else(|| panic!("{of}: {output}"));
        words[at - 1].parse::<u64>().expect("a number")
    };
    assert_eq!(count(&dry, "rows read"), count(&real, "rows read"), "{dry}{real}");
    assert_eq!(count(&dry, "would be in"), count(&real, "in"), "{dry}{real}");
    assert_eq!(count(&dry, "skipped"), count(&real, "skipped"), "{dry}{real}");
    assert_eq!(
        count(&dry, "facilities would be registered"),
        count(&real, "facilities registered"),
        "{dry}{real}"
    );
    assert_eq!(told(&dry), told(&real), "{dry}{real}");
}

#[tokio::test]
async fn a_dry_run_of_each_kind_writes_nothing_and_says_what_the_run_says() {
    for launch in both_stores().await {
        launch.run(&["migrate"]).await;
        for name in ["facilities.csv", "stock.csv", "demand.csv"] {
            fixture(&launch, name);
        }
        write(
            &launch,
            "ids.csv",
            "id,at,to\n00000000-0000-0000-0000-000000000005,2020-01-01,Tema\n\
             00000000-0000-0000-0000-000000000005,2020-01-01,Tema\n",
        );
        for _ in 0..2 {
            agrees(
                &launch,
                "facilities",
                "facilities.csv",
                &[&["--columns=name=name", "--set=timezone=Asia/Kolkata"]],
            )
            .await;
            agrees(&launch, "stock-history", "stock.csv", &[STOCK, &["--same-day=sum"]]).await;
            agrees(&launch, "requests", "demand.csv", &[DEMAND, SKIP]).await;
            agrees(&launch, "distributions", "demand.csv", &[SUPPLY, SKIP]).await;
            agrees(
                &launch,
                "requests",
                "ids.csv",
                &[&["--columns=id=id,created_at=at,facility=to", "--set=timezone=Africa/Accra"]],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_dry_run_meets_the_same_faults() {
    for launch in both_stores().await {
        launch.run(&["migrate"]).await;
        let before = tables::all(launch.database_url()).await;
        fixture(&launch, "demand.csv");
        let exited =
            import(&launch, "distributions", "demand.csv", &[SUPPLY, &["--dry-run"]]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        assert!(
            exited.output.contains("is empty; a whole number of units is needed")
                && exited.output.contains("Nothing was written"),
            "{}",
            exited.output
        );
        let skipped =
            imported(&launch, "distributions", "demand.csv", &[SUPPLY, SKIP, &["--dry-run"]]).await;
        assert!(skipped.contains("would be in demand.csv.rejects.csv"), "{skipped}");
        assert_eq!(tables::all(launch.database_url()).await, before);
    }
}
