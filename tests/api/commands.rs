//! The commands as a whole: help texts, and exit codes that scripts can rely on.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    outside::Outside,
    plain_sql::execute,
    service::Launch,
    site::{Site, a_zone_at_noon, acknowledged},
    wait_until,
};

async fn both_stores() -> [Launch; 2] {
    [Service::on_sqlite(), Service::on_postgres().await]
}

/// The commands that a help text lists.
fn commands_of(help: &str) -> Vec<String> {
    let Some((_, commands)) = help.split_once("Commands:") else { return vec![] };
    let commands = commands.split("\n\n").next().unwrap_or_default();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_help_of_every_command_shows_an_example() {
    let launch = Service::on_sqlite();
    let help = launch.run(&["--help"]).await;
    let names = commands_of(&help.output);
    for name in [
        "serve", "migrate", "rebuild", "audit", "generate", "import", "imports", "estimate",
        "openapi", "adopt", "key",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{name}: {}", help.output);
    }
    let mut commands: Vec<Vec<String>> = names.into_iter().map(|name| vec![name]).collect();
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = launch.run(&words).await;
        let named = format!("facility-summary {}", command.join(" "));
        assert_eq!(help.code, Some(0), "{named}");
        let (_, example) = help.output.split_once("Example").unwrap_or_default();
        assert!(example.contains(&named), "{named}: {}", help.output);
        let parts = commands_of(&help.output);
        commands.extend(parts.into_iter().map(|part| [command.clone(), vec![part]].concat()));
        seen += 1;
    }
    assert!(seen > 12, "the commands of adopt and import are among them: {seen}");
}

#[tokio::test]
async fn wrong_use_exits_with_2() {
    let launch = Service::on_sqlite();
    for words in [
        &["sevre"][..],
        &["rebuild", "--days=0"],
        &["rebuild", "--all", "--days=3"],
        &["generate"],
        &["estimate", "--facilities=0"],
    ] {
        assert_eq!(launch.run(words).await.code, Some(2), "{words:?}");
    }
    let exited = launch.run(&["audit", "--config=none.toml"]).await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    assert!(exited.output.contains("none.toml"), "{}", exited.output);
}

#[tokio::test]
async fn migrating_twice_does_no_harm() {
    for launch in both_stores().await {
        for _ in 0..2 {
            let exited = launch.run(&["migrate"]).await;
            assert_eq!(exited.code, Some(0), "{}", exited.output);
            assert!(exited.output.contains("up to date"), "{}", exited.output);
        }
    }
}

#[tokio::test]
async fn commands_that_meet_on_a_new_database_do_not_disturb_each_other() {
    for launch in both_stores().await {
        let generate = launch.run(&["generate", "--facilities=2", "--days=2"]);
        let (generated, migrated, again) =
            tokio::join!(generate, launch.run(&["migrate"]), launch.run(&["migrate"]));
        for exited in [generated, migrated, again] {
            assert_eq!(exited.code, Some(0), "{}", exited.output);
        }
    }
}

#[tokio::test]
async fn an_audit_lists_the_row_that_differs_and_a_rebuild_repairs_it() {
    for launch in both_stores().await {
        let generated = launch.run(&["generate", "--facilities=3", "--days=2"]).await;
        assert_eq!(generated.code, Some(0), "{}", generated.output);
        let one = "SELECT facility_id FROM dashboard_daily_summary ORDER BY facility_id LIMIT 1";
        let tamper = format!(
            "DELETE FROM summary_marks;
             UPDATE dashboard_daily_summary SET total_requests = total_requests + 1000
             WHERE facility_id = ({one}) AND date = (SELECT min(date) FROM dashboard_daily_summary \
             WHERE facility_id = ({one}))"
        );
        execute(launch.database_url(), &tamper).await;
        let found = launch.run(&["audit"]).await;
        assert_eq!(found.code, Some(1), "{}", found.output);
        assert!(
            found.output.contains("3 facilities audited, 1 row differs.")
                && found.output.contains("sources say"),
            "{}",
            found.output
        );
        let repaired = launch.run(&["rebuild", "--all"]).await;
        assert!(repaired.output.contains("1 row changed"), "{}", repaired.output);
        assert_eq!(launch.run(&["audit"]).await.code, Some(0));
    }
}

#[tokio::test]
async fn an_audit_shows_differences_that_a_mark_or_expiry_explains_and_does_not_count_them() {
    for launch in both_stores().await {
        let service = launch.start().await;
        let zone = a_zone_at_noon().0;
        let [marked, expires, tampered] = [
            Site::register(&service, &zone).await,
            Site::register(&service, &zone).await,
            Site::register(&service, &zone).await,
        ];
        let unit = json!({
            "inventory_id": Uuid::new_v4(),
            "blood_bank_id": expires.bank,
            "quantity": 4,
            "expires_at": (Timestamp::now() + 3.seconds()).to_string(),
        });
        acknowledged(&service, &event("inventory.set", unit)).await;
        expires.shows(&service, (4, 0, 0)).await;
        let launch = service.kill_9().await;
        let mut sql = Outside::connect(launch.database_url()).await;
        let (facility, row) = (sql.id(marked.facility), sql.id(Uuid::new_v4()));
        sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"))
            .await;
        let mut said = String::new();
        wait_until("the unit has expired", async || {
            let exited = launch.run(&["audit"]).await;
            assert_eq!(exited.code, Some(0), "{}", exited.output);
            said = exited.output;
            said.contains("2 rows differ")
        })
        .await;
        assert!(
            said.contains(
                "3 facilities audited, 0 rows differ. Besides, 2 rows differ, as a mark or an \
                 expiry explains."
            ),
            "{said}"
        );
        let explained = |site: &Site| {
            said.lines().any(|line| {
                line.contains(&site.facility.to_string())
                    && line.contains("; explained: a mark or an expiry")
            })
        };
        assert!(explained(&marked) && explained(&expires) && !explained(&tampered), "{said}");
        sql.run(format!(
            "UPDATE dashboard_daily_summary SET total_requests = total_requests + 1000 WHERE \
             facility_id = {}",
            sql.id(tampered.facility)
        ))
        .await;
        let found = launch.run(&["audit"]).await;
        assert_eq!(found.code, Some(1), "{}", found.output);
        assert!(
            found.output.contains("3 facilities audited, 1 row differs. Besides, 2 rows differ,"),
            "{}",
            found.output
        );
    }
}

#[tokio::test]
async fn the_document_is_printed_without_a_database() {
    let exited = Service::on("postgres://nobody@127.0.0.1:1/none").run(&["openapi"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let document: Value =
        serde_json::from_str(&exited.output).expect("nothing but JSON is printed");
    assert!(document["openapi"].is_string());
}

#[test]
fn a_command_whose_output_nobody_reads_on_ends_without_a_word() {
    // What it prints is more than a pipe holds.
    let script = "\"$0\" openapi | head --bytes=1";
    let binary = env!("CARGO_BIN_EXE_facility-summary");
    let ended = std::process::Command::new("sh").args(["-c", script, binary]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "{");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
